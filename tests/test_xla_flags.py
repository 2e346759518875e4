"""The flags that the tests compile with are those that the installed XLA knows."""

from tests.xla_flags import QUICK, known_to_xla, with_quick_flags


def test_a_flag_that_xla_does_not_know_is_left_out():
    known = "--xla_force_host_platform_device_count=1"
    assert known_to_xla(["--xla_no_such_flag=1", known]) == [known]


def test_flags_that_are_given_stay():
    given = " ".join(flag.partition("=")[0] + "=given" for flag in QUICK)
    assert with_quick_flags(given) == given


def test_the_name_of_a_file_of_flags_stays_alone():
    assert with_quick_flags("/folder/flags.txt") == "/folder/flags.txt"
