"""The facts of audio-visual video parsing on LLP: classes, segments, modalities.

Source: Tian, Li and Xu, "Unified Multisensory Perception: Weakly-Supervised
Audio-Visual Video Parsing", ECCV 2020, section 3.
"""

CLASSES = (
    "Speech",
    "Car",
    "Cheering",
    "Dog",
    "Cat",
    "Frying_(food)",
    "Basketball_bounce",
    "Fire_alarm",
    "Chainsaw",
    "Cello",
    "Banjo",
    "Singing",
    "Chicken_rooster",
    "Violin_fiddle",
    "Vacuum_cleaner",
    "Baby_laughter",
    "Accordion",
    "Lawn_mower",
    "Motorcycle",
    "Helicopter",
    "Acoustic_guitar",
    "Telephone_bell_ringing",
    "Baby_cry_infant_cry",
    "Blender",
    "Clapping",
)
NUM_CLASSES = len(CLASSES)

# A video lasts ten seconds; a segment is one of them.
SEGMENTS = 10

# The order of the modality axis, everywhere.
MODALITIES = ("audio", "visual")
