"""What stands in a block, whether its lines are in it or still to be read."""

from ml_exporter.sources.blocks import Block
from ml_exporter.sources.memory import Memory


def text_of(block: Block) -> bytes:
    """Return the lines of a block without those that are too long."""
    memory = Memory()
    memory.load(block)
    return memory.array().tobytes()


def too_long_in(block: Block) -> int:
    """Return how many lines of a block are too long."""
    return Memory().load(block)
