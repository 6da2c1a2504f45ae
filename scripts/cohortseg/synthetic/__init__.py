"""Made images with known truth: a z stack, a two-channel field, a histology field, an empty and a crowded one.

Pure drawing: a seed in, arrays out, the same on every run. The scenes imitate what nuclear stains look like under
a microscope, so that a network trained on real nuclei segments them.
"""

from cohortseg.synthetic.histology import histology_field
from cohortseg.synthetic.scenes import crowded_field, empty_field, nuclei_stack, two_channel_field

__all__ = ["crowded_field", "empty_field", "histology_field", "nuclei_stack", "two_channel_field"]
