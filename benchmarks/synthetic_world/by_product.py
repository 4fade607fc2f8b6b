"""Makes the generated source: `python -m benchmarks.synthetic_world.by_product FOLDER JOURNEYS`.

Imports and a small world of another brand come first. Prints the seconds and a hash of each file.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.synthetic_world import world


def main(folder: Path, journeys: int) -> dict[str, Any]:
    world.connector(folder / "warm_up", ("Novel",), 100).ensure()
    source = world.connector(folder, world.brands(), journeys)
    began = time.perf_counter()
    source.ensure()
    return {"seconds": time.perf_counter() - began, "answer": world.hashes(source.folder)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
