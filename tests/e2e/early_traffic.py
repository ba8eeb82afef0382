"""The demo's traffic, begun some seconds ago: `early_traffic.py SECONDS FLAGS...`, flags as of traffic.py.

What stops is only missed once a whole window is without it, and a window is a minute at least.
"""

import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "exporter" / "demo"))

import traffic

if __name__ == "__main__":
    begun = time.time() - float(sys.argv[1])
    stream = traffic.Traffic(traffic.parser().parse_args(sys.argv[2:]), begun)
    stream.backlog(begun)
    while True:
        stream.tick(time.time())
        time.sleep(traffic.TICK_SECONDS)
