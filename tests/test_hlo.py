"""What benchmarks/hlo.py reads from a program's text."""

import pathlib

import pytest

BENCHMARKS = pathlib.Path(__file__).parent.parent / "benchmarks"
TEXT = """\
HloModule jit_run_steps, entry_computation_layout={(f32[4,8]{1,0})->f32[4,8]{1,0}}

%fused (p.0: f32[4,8], p.1: f32[8,8]) -> f32[4,8] {
  %p.0 = f32[4,8]{1,0:T(8,128)} parameter(0)
  %p.1 = f32[8,8]{1,0:T(8,128)} parameter(1)
  ROOT %c = f32[4,8]{1,0:T(8,128)} convolution(%p.0, %p.1), dim_labels=bf_io->bf, FIRST
}

%keep (a.1: f32[4,8]) -> f32[4,8] {
  ROOT %a.1 = f32[4,8]{1,0} parameter(0)
}

%update (a.2: f32[4,8]) -> f32[4,8] {
  %a.2 = f32[4,8]{1,0} parameter(0)
  %n = f32[4,8]{1,0} negate(%a.2)
  ROOT %e = f32[4,8]{1,0} exponential(%n)
}

%inner (i: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %i = (s32[], f32[4,8]{1,0}) parameter(0)
  %i.0 = s32[] get-tuple-element(%i), index=0
  %i.1 = f32[4,8]{1,0} get-tuple-element(%i), index=1
  %s = f32[4,8]{1,0} sine(%i.1)
  ROOT %i.2 = (s32[], f32[4,8]{1,0}) tuple(%i.0, %s)
}

%body (b: (s32[], f32[4,8])) -> (s32[], f32[4,8]) {
  %b = (s32[], f32[4,8]{1,0}) parameter(0)
  %x = f32[4,8]{1,0} get-tuple-element(%b), index=1
  %f = f32[4,8]{1,0} fusion(%x, %x), kind=kOutput, calls=%fused
  %g = (f32[4,8]{1,0}, s8[64]{0}) custom-call(%f), custom_call_target="__cublas$gemm", SECOND
  %r = f32[4,8]{1,0} all-reduce-start(%f), replica_groups={}
  %r.1 = f32[4,8]{1,0} all-reduce-done(%r)
  %w = (s32[], f32[4,8]{1,0}) while(%b), condition=%never, body=%inner, TRIPS
  %o = f32[4,8]{1,0} conditional(%p, %r.1, %r.1), true_computation=%update, false_computation=%keep
  ROOT %t = (s32[], f32[4,8]{1,0}) tuple(%i.0, %o)
}

ENTRY %main (x.0: f32[4,8]) -> f32[4,8] {
  %x.0 = f32[4,8]{1,0} parameter(0)
  %l = (s32[], f32[4,8]{1,0}) while(%x.0), condition=%never, body=%body
  ROOT %y = f32[4,8]{1,0} get-tuple-element(%l), index=1
}
""".replace("TRIPS", 'backend_config={"known_trip_count":{"n":"3"}}')


@pytest.fixture
def hlo(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    import hlo

    return hlo


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("operand_precision={highest,highest}", '["HIGHEST","HIGHEST"]', {"highest": 2}),
        ("metadata={}", '["HIGHEST","HIGHEST"]', {"default": 1, "highest": 1}),
        ("operand_precision={high,high}", '["DEFAULT","DEFAULT"]', {"high": 1, "default": 1}),
        ("operand_precision={highest,default}", '["HIGHEST","HIGH"]', {"default": 2}),
    ],
)
def test_every_product_is_found_with_its_precision(first, second, expected, hlo):
    second = f'backend_config={{"precision_config":{{"operand_precision":{second}}}}}'
    program = hlo.read(TEXT.replace("FIRST", first).replace("SECOND", second))
    assert hlo.product_precisions(program) == expected


CONVOLUTION = """\
ENTRY %main (x: TYPE[2,8,8,4], k: TYPE[6,3,3,4]) -> TYPE[2,8,8,6] {
  %x = TYPE[2,8,8,4]{3,2,1,0} parameter(0)
  %k = TYPE[6,3,3,4]{3,2,1,0} parameter(1)
  %b = f32[6]{0} constant(0)
  %c = (TYPE[2,8,8,6]{3,2,1,0}, u8[0]{0}) custom-call(%x, %k, %b), window={size=3x3}, ASKED\
custom_call_target="__cudnn$convBiasActivationForward"
}
"""


@pytest.mark.parametrize(
    ("asked", "type_", "expected"),
    [
        # The third is a bias, which is added.
        ("operand_precision={highest,highest,default}, ", "f32", "highest"),
        ("operand_precision={highest,highest}, ", "f32", "highest"),
        ("operand_precision={high,high,default}, ", "f32", "high"),
        ("operand_precision={highest,default,highest}, ", "f32", "default"),
        ("", "f32", "default"),
        ("operand_precision={highest,highest,default}, ", "bf16", "bfloat16"),
        ("", "bf16", "bfloat16"),
    ],
)
def test_convolutions_of_cudnn_are_found_with_their_precision(asked, type_, expected, hlo):
    text = CONVOLUTION.replace("ASKED", asked).replace("TYPE", type_)
    assert hlo.product_precisions(hlo.read(text)) == {expected: 1}


def test_what_a_step_starts_is_counted(hlo):
    """The fusion, the product, the sum, three times the sine, and the longer branch."""
    assert hlo.kernels_of_step(hlo.read(TEXT)) == 3 + 3 + 2


def test_what_devices_send_is_counted_once(hlo):
    assert hlo.collectives(hlo.read(TEXT)) == {"all-reduce": 4 * 8 * 4}
    gathered = "(f32[2,8]{1,0}, f32[2,8]{1,0}) all-gather-start(%f)"
    text = TEXT.replace("f32[4,8]{1,0} all-reduce-start(%f)", gathered)
    assert hlo.collectives(hlo.read(text)) == {"all-gather": 2 * 8 * 4}


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("f32[4,8]{1,0} sine", "f64[4,8]{1,0} sine", "has_double_precision"),
        ("f32[4,8]{1,0} sine", "bf16[4,8]{1,0} sine", "has_half_precision"),
        ("__cublas$gemm", "xla_python_cpu_callback", "has_callbacks"),
        ("sine(", "outfeed(", "has_callbacks"),
    ],
)
def test_what_a_device_should_not_do_is_found(old, new, found, hlo):
    assert not getattr(hlo, found)(hlo.read(TEXT))
    assert getattr(hlo, found)(hlo.read(TEXT.replace(old, new)))


def test_kernels_that_are_not_written_out_are_named(hlo):
    assert hlo.called_kernels(hlo.read(TEXT)) == {"__cublas$gemm"}


def step(*lines: str, fused: str = "") -> str:
    """A program whose loop takes one step, with a large array and a small one to work on."""
    body = "\n".join(f"  {line}" for line in lines)
    return f"""\
HloModule jit_run_steps

{fused}%body (b: (f32[1000,8], f32[2,8])) -> (f32[1000,8], f32[2,8]) {{
  %b = (f32[1000,8]{{1,0}}, f32[2,8]{{1,0}}) parameter(0)
  %large = f32[1000,8]{{1,0}} get-tuple-element(%b), index=0
  %small = f32[2,8]{{1,0}} get-tuple-element(%b), index=1
  %at = s32[2]{{0}} constant({{0, 1}})
{body}
  ROOT %t = (f32[1000,8]{{1,0}}, f32[2,8]{{1,0}}) tuple(%large, %small)
}}

ENTRY %main (x: (f32[1000,8], f32[2,8])) -> (f32[1000,8], f32[2,8]) {{
  %x = (f32[1000,8]{{1,0}}, f32[2,8]{{1,0}}) parameter(0)
  ROOT %l = (f32[1000,8]{{1,0}}, f32[2,8]{{1,0}}) while(%x), condition=%never, body=%body
}}
"""


GATHER = """\
%taken (p: f32[1000,8], q: s32[2]) -> f32[2,8] {
  %p = f32[1000,8]{1,0} parameter(0)
  %q = s32[2]{0} parameter(1)
  %p.1 = f32[1000,8]{1,0} bitcast(%p)
  ROOT %g = f32[2,8]{1,0} gather(%p.1, %q), offset_dims={1}
}

"""
WRITE = """\
%put (p: f32[1000,8], q: f32[2,8]) -> f32[1000,8] {
  %p = f32[1000,8]{1,0} parameter(0)
  %q = f32[2,8]{1,0} parameter(1)
  %z = s32[] constant(0)
  %u = f32[1000,8]{1,0} dynamic-update-slice(%p, %q, %z, %z)
  ROOT %r = f32[1000,8]{1,0} bitcast(%u)
}

"""
SMALL, LARGE, TWO = 2 * 8 * 4, 1000 * 8 * 4, 2 * 4


@pytest.mark.parametrize(
    ("line", "fused", "expected"),
    [
        ("%n = f32[2,8]{1,0} negate(%small)", "", 2 * SMALL),
        # What stays on the chip is no traffic.
        ("%n = f32[2,8]{1,0:T(8,128)S(1)} negate(%small)", "", SMALL),
        # Rows are read from a large array, and written: not all of it.
        (
            "%f = f32[2,8]{1,0} fusion(%large, %at), kind=kLoop, calls=%taken",
            GATHER,
            2 * SMALL + TWO,
        ),
        (
            "%f = f32[2,8]{1,0:S(1)} fusion(%large, %at), kind=kLoop, calls=%taken",
            GATHER,
            SMALL + TWO,
        ),
        ("%f = f32[1000,8]{1,0} fusion(%large, %small), kind=kLoop, calls=%put", WRITE, 2 * SMALL),
        ("%d = f32[2,8]{1,0} dynamic-slice(%large, %at)", "", 2 * SMALL),
        # A product's room to work in is not counted.
        (
            '%g = (f32[2,8]{1,0}, s8[4096]{0}) custom-call(%small, %large), custom_call_target="x"',
            "",
            2 * SMALL + LARGE,
        ),
        ("%c = (f32[2,8]{1,0:S(1)}, f32[2,8]{1,0}, u32[]{:S(2)}) copy-start(%small)", "", SMALL),
    ],
)
def test_the_traffic_of_a_step(line, fused, expected, hlo):
    assert hlo.bytes_of_step(hlo.read(step(line, fused=fused))) == expected
