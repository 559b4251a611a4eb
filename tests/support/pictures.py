"""Pictures that nobody looks at are dots."""

import os
from contextlib import contextmanager

VARIABLE = "SOUNDDETECT_TESTS_DRAW_NOTHING"  # set for the commands of a test


def draw_nothing():
    """Make every picture of this process a dot; what has to be called to draw again."""
    from sounddetect.plotting.style import Picture

    to_png, dot = Picture.to_png, Picture(figsize=(0.1, 0.1)).to_png()
    Picture.to_png = lambda self, dpi=None, **options: dot

    def again():
        Picture.to_png = to_png

    return again


@contextmanager
def drawing_nothing():
    """Draw nothing meanwhile, here and in the commands that are started."""
    again = draw_nothing()
    os.environ[VARIABLE] = "1"
    try:
        yield
    finally:
        again()
        del os.environ[VARIABLE]
