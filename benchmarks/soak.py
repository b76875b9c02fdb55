"""A million pictures predicted by two processes that are killed three times on the way.

python -m benchmarks.soak --folder=SCRATCH                     # 2 GB of disk, minutes
python -m benchmarks.soak --folder=SCRATCH --pictures=20000 --shard=1000 --force --result=/tmp/soak.json --picture=/tmp/soak.png
python -m benchmarks.soak --draw                               # only the picture, from the result

Order and number of rows are compared with what was drawn, some files with those of a run that
nobody disturbed, and the memory of each process over time with itself.
"""  # noqa: E501

import argparse
import csv
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet
from matplotlib.figure import Figure

from benchmarks.machine import describe, idle_machine
from benchmarks.soak_inputs import draw_shards, picture_name, save_toy_model
from jaxcbm.atomic import write_json
from jaxcbm.charts import look, styled

PROCESSES, KILLS, SAMPLED = 2, 3, 3
BATCH = 256
# Too few pictures to say anything of memory: the processes are hardly warm.
FEW = 200_000
# Seconds between two looks at the memory, and by how much it may grow.
LOOK, GROWTH = 0.5, 0.02


class Look(NamedTuple):
    """The memory of one process at one moment.

    Attributes:
        seconds: since the beginning of the soak.
        attempt: which run of the command, from 0.
        process: which of its processes.
        anonymous_mib: memory that belongs to no file.
        files: how many are finished, of all processes.
    """

    seconds: float
    attempt: int
    process: int
    anonymous_mib: float
    files: int


def main() -> None:
    """Measure unless told only to draw; write the result and the picture."""
    args = _arguments()
    if not args.draw:
        with idle_machine("soak", force=args.force) as load:
            result = measure(args.folder, args.pictures, args.shard, args.seed)
        looks = result.pop("looks")
        write_json(args.result, {**result, "load": asdict(load)})
        _write_looks(args.result.with_suffix(".csv"), looks)
    result = json.loads(args.result.read_text(encoding="utf-8"))
    for each in result["memory"]:
        print(f"process {each['process']}: memory {each['growth']:+.1%} in {each['seconds']:.0f} s")
        assert each["growth"] <= GROWTH or args.pictures < FEW, "memory grows"
    memory_plot(result, _read_looks(args.result.with_suffix(".csv"))).savefig(args.picture)


def measure(folder: Path, pictures: int, shard: int, seed: int) -> dict[str, Any]:
    """Draw, predict with kills, and check; everything lies in `folder` meanwhile.

    The result has every `Look` under "looks".

    Raises:
        AssertionError: rows are missing, doubled, in another order or of other content, or memory
            grows.
    """
    home = folder / "soak"
    home.mkdir(parents=True)
    try:
        begun = time.monotonic()
        shards = draw_shards(home, pictures, shard)
        drawn = time.monotonic() - begun
        model = save_toy_model(home)
        looks, kills, seconds = disturbed(home, model, len(shards), random.Random(seed))
        count = check_rows(home / "out", shards, pictures, shard)
        chosen = sorted(random.Random(seed + 1).sample(range(len(shards)), SAMPLED))
        same = check_sample(home, model, shards, chosen)
    finally:
        shutil.rmtree(home)
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": describe(),
        "pictures": pictures,
        "files": len(shards),
        "processes": PROCESSES,
        "seed": seed,
        "drawing_seconds": drawn,
        "seconds": seconds,
        "pictures_per_second": pictures / seconds,
        "kills": kills,
        "rows": count,
        "rows_equal_to_an_undisturbed_run": same,
        "memory": growth(looks),
        "looks": looks,
    }


def disturbed(
    home: Path, model: Path, files: int, rng: random.Random
) -> tuple[list[Look], list[dict[str, Any]], float]:
    """Run the command again and again, each time killed at a random moment but the last."""
    moments = sorted(rng.uniform(0.05, 0.75) * files for _ in range(KILLS))
    begun, looks, kills = time.monotonic(), [], []
    for attempt, moment in enumerate([*moments, float("inf")]):
        pair = _start(home, model)
        while any(process.poll() is None for process in pair):
            done = len(list((home / "out" / ".manifest").glob("part-*")))
            now = time.monotonic() - begun
            for number, process in enumerate(pair):
                if held := anonymous_mib(process.pid):
                    looks.append(Look(now, attempt, number, held, done))
            if done >= moment:
                time.sleep(rng.uniform(0.0, 3.0 * LOOK))
                kills.append({"seconds": time.monotonic() - begun, "files": done})
                for process in rng.sample(pair, len(pair)):
                    process.send_signal(signal.SIGKILL)
                    time.sleep(rng.uniform(0.0, 0.2))
            time.sleep(LOOK)
        codes = [process.wait() for process in pair]
        assert codes == [0, 0] or moment < float("inf"), f"the last run ends with {codes}"
    return looks, kills, time.monotonic() - begun


def check_rows(out: Path, shards: list[Path], pictures: int, shard: int) -> int:
    """Every picture once, in the order in which it was drawn; one file in memory at a time."""
    files = sorted(out.glob("part-*.parquet"))
    assert len(files) == len(shards), f"{len(files)} files instead of {len(shards)}"
    count = 0
    for tar, file in zip(shards, files, strict=True):
        names = pyarrow.parquet.read_table(file, columns=["file"])["file"].to_pylist()
        wanted = range(count, min(count + shard, pictures))
        assert names == [f"{tar}/{picture_name(i)}" for i in wanted], f"{file}: other rows"
        count += len(names)
    assert count == pictures, f"{count} rows instead of {pictures}"
    return count


def check_sample(home: Path, model: Path, shards: list[Path], chosen: list[int]) -> int:
    """Some tar files again, by one process that nobody disturbs: how many rows were compared."""
    listed = home / "sample.txt"
    listed.write_text("".join(f"{shards[number]}\n" for number in chosen), encoding="utf-8")
    command = [*_command(model, f"@{listed}"), f"--output={home / 'sample'}"]
    subprocess.run(command, check=True, env=_environment())
    rows = 0
    for file, number in zip(sorted((home / "sample").glob("*.parquet")), chosen, strict=True):
        other = home / "out" / f"part-{number:05d}-of-{len(shards):05d}.parquet"
        assert file.read_bytes() == other.read_bytes(), f"{other} is not what a calm run writes"
        rows += pyarrow.parquet.read_metadata(file).num_rows
    return rows


def growth(looks: list[Look]) -> list[dict[str, Any]]:
    """Of each process of the attempt that finished most: its memory early and late.

    It is looked at from its first finished file on; both numbers are medians of a quarter of that
    time, the second and the last.
    """
    attempts = {number: [x for x in looks if x.attempt == number] for number in range(KILLS + 1)}
    best = max(attempts.values(), key=lambda own: own[-1].files - own[0].files)
    warm = [x for x in best if x.files > best[0].files]
    found = []
    for process in range(PROCESSES):
        own = [x for x in warm if x.process == process]
        quarters = np.array_split([x.anonymous_mib for x in own], 4)
        early, late = float(np.median(quarters[1])), float(np.median(quarters[3]))
        found.append({
            "attempt": best[0].attempt, "process": process,
            "seconds": own[-1].seconds - own[0].seconds, "files": own[-1].files - own[0].files,
            "early_mib": early, "late_mib": late, "growth": late / early - 1.0,
        })  # fmt: skip
    return found


@styled
def memory_plot(result: dict[str, Any], looks: list[Look]) -> Figure:
    """Memory of both processes over time, with the kills."""
    figure = Figure(figsize=(7.5, 3.2))
    axes = figure.subplots()
    for process in range(result["processes"]):
        color = look(process)["color"]
        for attempt in range(len(result["kills"]) + 1):
            own = [x for x in looks if (x.process, x.attempt) == (process, attempt)]
            label = f"process {process}" if attempt == 0 else None
            axes.plot(
                [x.seconds for x in own], [x.anonymous_mib for x in own], color=color, label=label
            )
    for number, kill in enumerate(result["kills"]):
        label = "both killed" if number == 0 else None
        axes.axvline(kill["seconds"], color=look(5)["color"], linestyle=":", label=label)
    axes.set(xlabel="seconds", ylabel="anonymous memory, MiB", ylim=(0, None))
    axes.set_title(
        f"{result['pictures']:,} pictures, {result['pictures_per_second']:,.0f} a second"
    )
    axes.legend(loc="lower right")
    return figure


def _write_looks(path: Path, looks: list[Look]) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(Look._fields)
        writer.writerows(
            [f"{x:.1f}" if isinstance(x, float) else x for x in each] for each in looks
        )


def _read_looks(path: Path) -> list[Look]:
    with open(path, newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))[1:]
    return [Look(float(t), int(a), int(p), float(mib), int(n)) for t, a, p, mib, n in rows]


def _start(home: Path, model: Path) -> list[subprocess.Popen]:
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    joined = ["--distributed", f"--coordinator=localhost:{port}", f"--processes={PROCESSES}"]
    # An existing pattern: braces, in the order of the numbers.
    last = len(list(home.glob("soak-*.tar"))) - 1
    command = _command(model, f"{home}/soak-{{0000..{last:04d}}}.tar")
    return [
        subprocess.Popen(
            [*command, f"--output={home / 'out'}", *joined, f"--process={number}"],
            env=_environment(),
            stdout=subprocess.DEVNULL,
        )
        for number in range(PROCESSES)
    ]


def _command(model: Path, images: str) -> list[str]:
    words = ["-m", "jaxcbm.cli", "-q", "predict", f"--workdir={model}", f"--images={images}"]
    return [sys.executable, *words, f"--batch-size={BATCH}"]


def _environment() -> dict[str, str]:
    return {**os.environ, "JAX_PLATFORMS": "cpu", "JAX_NUM_CPU_DEVICES": "1"}


def anonymous_mib(pid: int | str) -> float:
    """Memory of a process that belongs to no file; 0 where there is no such process."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0
    lines = [line for line in status.splitlines() if line.startswith("RssAnon")]
    return int(lines[0].split()[1]) / 1024 if lines else 0.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, help="where everything lies meanwhile")
    parser.add_argument("--pictures", type=int, default=1_000_000)
    parser.add_argument("--shard", type=int, default=5000, help="pictures a tar file")
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--result", type=Path, default=Path("docs/results/soak.json"))
    parser.add_argument("--picture", type=Path, default=Path("docs/pictures/soak.png"))
    parser.add_argument("--force", action="store_true", help="on a busy machine too")
    parser.add_argument("--draw", action="store_true", help="only the picture")
    args = parser.parse_args()
    if args.folder is None and not args.draw:
        parser.error("give --folder, or --draw")
    return args


if __name__ == "__main__":
    main()
