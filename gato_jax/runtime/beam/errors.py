"""The error of a pipeline."""


class BeamError(ValueError):
    """A pipeline that Apache Beam refuses or whose worker died; the message names the problem and the remedy."""
