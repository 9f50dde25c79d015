"""What samples mean: twitches, minutes, answers. Never sees a byte off the radio."""

__version__ = "0.1.0"
