"""Arrays for tests that remember what was done to them."""


class Recorder:
    """Array that remembers the regions that were written and read."""

    shards = None

    def __init__(self, array, chunks):
        self.array, self.written, self.read = array, [], []
        self.shape, self.dtype, self.chunks = array.shape, array.dtype, tuple(chunks)

    def __setitem__(self, region, values):
        self.written.append(region)
        self.array[region] = values

    def __getitem__(self, region):
        self.read.append(region)
        return self.array[region]
