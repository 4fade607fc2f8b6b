"""BentoML: builds the Bento, serves it in a process of its own, and compares its answer with the model's."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.plain_script.tracking import copy_code
from e2i_pipeline.domain.algorithms import ScoringModel, dump_model

HOST = "127.0.0.1"
DEADLINE_S = 300
TOLERANCE = 1e-6


def package(model: ScoringModel, brand: str, version: str, folder: Path) -> str:
    """Builds the Bento in a process of its own, since BentoML imports the service that it builds.

    Returns:
        Its tag.
    """
    layout = folder / "layout"
    copy_code(layout / "e2i_pipeline")
    shutil.copy(Path(__file__).with_name("bento_service.py"), layout / "service.py")
    files = folder / "bento_model"
    files.mkdir()
    for name, content in dump_model(model).items():
        (files / name).write_bytes(content)
    tag = f"{brand.lower()}:{version}"
    (layout / "model_tag.txt").write_text(tag, encoding="utf-8")
    command = [sys.executable, str(Path(__file__).with_name("bento_build.py")), str(layout), str(files), tag]
    with (folder / "build.log").open("wb") as log:
        subprocess.run(  # noqa: S603 - our own interpreter, no shell
            command, env=_environment(folder, layout), cwd=layout, stdout=log, stderr=subprocess.STDOUT, check=True
        )
    return tag


def answer_golden_request(tag: str, model: ScoringModel, rows: Any, folder: Path) -> None:
    """Serves the Bento and sends it rows.

    Raises:
        SystemExit: It answers something else than the model.
    """
    import httpx
    import numpy as np

    port = _free_port()
    command = [sys.executable, "-m", "bentoml", "serve", tag, "--host", HOST, "--port", str(port)]
    with (folder / "serve.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own interpreter, no shell
            command, env=_environment(folder), cwd=folder, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            with httpx.Client(base_url=f"http://{HOST}:{port}", timeout=30, trust_env=False) as client:
                _wait_until_ready(client, process)
                body = {"rows": json.loads(rows.to_json(orient="records"))}
                answer = client.post("/predict", json=body).raise_for_status().json()
        finally:
            _stop(process)
    if not np.allclose(answer, model.predict(rows), rtol=0, atol=TOLERANCE):
        raise SystemExit("the Bento does not answer as the model does")


def _environment(folder: Path, *path: Path) -> dict[str, str]:
    # BentoML looks for uv even where nothing is to be locked, and installs it where it finds none
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    places = os.pathsep.join(map(str, path))
    return {
        "PATH": tools,
        "HOME": os.environ.get("HOME", ""),
        "PYTHONPATH": places,
        "PYTHONDONTWRITEBYTECODE": "1",
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
    }


def _wait_until_ready(client: Any, process: "subprocess.Popen[bytes]") -> None:
    import httpx

    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            if client.get("/readyz").is_success:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.1)
    raise SystemExit("the Bento does not start")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    import psutil

    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    for worker in psutil.wait_procs(family, timeout=30)[1]:
        worker.kill()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]
