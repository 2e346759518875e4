"""What the papers report on the LLP test split: ten F-scores in percent, in scores.NAMES' order.

Every row is the one in the paper's main comparison table.
"""

from typing import NamedTuple


class Published(NamedTuple):
    """One printed row: the method's name, segment-level then event-level A, V, AV, Type, Event."""

    method: str
    scores: tuple[float, ...]
    source: str


PUBLISHED = {
    "han": Published(
        "HAN",
        (60.1, 52.9, 48.9, 54.0, 55.4, 51.3, 48.9, 43.0, 47.7, 48.0),
        "Tian, Li, Xu: Unified Multisensory Perception: Weakly-Supervised Audio-Visual Video "
        "Parsing. ECCV 2020",
    ),
    # The printed segment-level Type is not the mean of its three columns, which is 58.5.
    "ma": Published(
        "MA",
        (60.3, 60.0, 55.1, 58.9, 57.9, 53.6, 56.4, 49.0, 53.0, 50.6),
        "Wu, Yang: Exploring Heterogeneous Clues for Weakly-Supervised Audio-Visual Video "
        "Parsing. CVPR 2021",
    ),
    "jomold": Published(
        "JoMoLD",
        (61.3, 63.8, 57.2, 60.8, 59.9, 53.9, 59.9, 49.6, 54.5, 52.5),
        "Cheng et al.: Joint-Modal Label Denoising for Weakly-Supervised Audio-Visual Video "
        "Parsing. ECCV 2022",
    ),
    # The paper's best row, most likely the refinement variant.
    "dhhn": Published(
        "DHHN",
        (61.4, 63.4, 56.8, 60.5, 59.5, 54.6, 60.8, 51.1, 55.5, 53.3),
        "Jiang et al.: DHHN: Dual Hierarchical Hybrid Network for Weakly-Supervised Audio-Visual "
        "Video Parsing. ACM Multimedia 2022",
    ),
    "valor": Published(
        "VALOR",
        (61.8, 65.9, 58.4, 62.0, 61.5, 55.4, 62.6, 52.2, 56.7, 54.2),
        "Lai, Chen, Wang: Modality-Independent Teachers Meet Weakly-Supervised Audio-Visual "
        "Event Parser. NeurIPS 2023",
    ),
    "valor_plus": Published(
        "VALOR+",
        (62.8, 66.7, 60.0, 63.2, 62.3, 57.1, 63.9, 54.4, 58.5, 55.9),
        "Lai, Chen, Wang, NeurIPS 2023",
    ),
    "valor_plus_plus": Published(
        "VALOR++",
        (68.1, 68.4, 61.9, 66.2, 66.8, 61.2, 64.7, 55.5, 60.4, 59.0),
        "Lai, Chen, Wang, NeurIPS 2023",
    ),
}
