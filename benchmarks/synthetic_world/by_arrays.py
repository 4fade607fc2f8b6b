"""Writes the same world from arrays in memory: `python -m benchmarks.synthetic_world.by_arrays FOLDER JOURNEYS`.

The same Arrow tables, written by the same lines; how they came about is not timed. Prints what `by_product` does.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.synthetic_world import world


def main(folder: Path, journeys: int) -> dict[str, Any]:
    from e2i_pipeline.domain.synthetic import generate_blocks
    from e2i_pipeline.resources.connectors.synthetic import write_blocks

    world.connector(folder / "warm_up", ("Novel",), 100).ensure()
    blocks = list(generate_blocks(world.brands(), world.design(journeys)))
    out = folder / "written"
    out.mkdir()
    began = time.perf_counter()
    write_blocks(blocks, out)
    return {"seconds": time.perf_counter() - began, "answer": world.hashes(out)}


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), int(sys.argv[2]))))
