"""results.py RAW RESULTS.md THREADS: the figures that compare.sh collected (one JSON object a line) as Markdown tables. Ratios are taken pair by
pair, ours against the PyTorch figure just before it, and the median of the pairs is given with the range."""

import datetime
import json
import pathlib
import statistics
import sys


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


def load(path):
    """Results in order by (kind, setting, work, side)."""
    found = {}
    for line in pathlib.Path(path).read_text().splitlines():
        row = json.loads(line)
        found.setdefault((row["kind"], row["setting"], row["work"], row["side"]), []).append(row["result"])
    return found


def spread(values, digits):
    middle = f"{statistics.median(values):.{digits}f}"
    return middle if len(values) < 2 else f"{middle} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def table(head, rows):
    return [" | ".join(["", *head, ""]).strip(), "|".join(["", "---", *["---:"] * (len(head) - 1), ""]), *(" | ".join(["", *row, ""]).strip() for row in rows), ""]


def main(raw, target, threads):
    found = load(raw)
    kinds = {key[0] for key in found}
    load_average = pathlib.Path("/proc/loadavg").read_text().split()[0]
    lines = ["# Side by side with PyTorch", "",
             f"{processor()}, {threads} threads a side, {datetime.date.today()}; made by `tools/Peers/compare.sh`, both sides in turn within one run. "
             f"Medians, with the range over pairs in brackets. Load average at the end: {load_average}.", ""]

    if "unet" in kinds:
        rows = []
        for (kind, setting, work, side), theirs in found.items():
            if kind != "unet" or side != "torch":
                continue
            mine = [next(iter(r["unet"].values())) for r in found.get((kind, setting, work, "ours"), [])]
            if not mine:
                continue
            name = {"forward": "forward", "forwardBackward": "forward + backward"}[work] + ("" if setting == "default" else ", little memory")
            error = max(max(r.get("deviation") or 0, r.get("gradientDeviation") or 0) for r in mine)
            rows.append([name, spread([r["medianMs"] for r in theirs], 0), spread([r["medianMs"] for r in mine], 0),
                         spread([t["medianMs"] / m["medianMs"] for t, m in zip(theirs, mine)], 2),
                         f"{max(r['peakMb'] for r in theirs)}", f"{max(r['peakMb'] for r in mine):.0f}", f"{max(r['afterLoadMb'] for r in mine):.0f}", f"{error:.0e}"])
        lines += ["## A 35M-parameter U-Net with adapters of rank 4", "",
                  "Batch 2, latents 4x32x32. Times in ms, memory in MB (1e6 bytes, resident, whole process). The error is the largest of our output, or loss and gradients, "
                  "over the largest value of PyTorch's, worst tensor. Little memory: a C library that returns memory at once on both sides; PyTorch with gradient checkpointing, "
                  "ours with `LowMemory`.", ""]
        lines += table(["", "PyTorch ms", "OrtRlhf ms", "faster by", "PyTorch peak", "OrtRlhf peak", "after loading", "error"], rows)

    if "log-prob" in kinds:
        rows = [[f"{r['elements']:,} elements, {r['workingSetBytes'] // 1024:,} KiB", f"{r['gigabytesPerSecond']:.1f}", f"{r['readGigabytesPerSecond']:.1f}", f"{r['shareOfRead']:.0%}"]
                for result in found[("log-prob", "default", "kernel", "ours")] for r in result["log-prob"]]
        lines += ["## Log-prob kernel, one thread, against only reading the same memory", ""]
        lines += table(["latent, working set", "kernel GB/s", "reading GB/s", "share"], rows)

    if "ddpo" in kinds:
        lines += ["## DDPO end to end, images a second", ""]
        rows = []
        for (kind, setting, work, side), theirs in found.items():
            if kind != "ddpo" or side != "torch":
                continue
            mine = [r["ddpo"] for r in found.get((kind, setting, work, "ours"), [])]
            if not mine:
                continue
            o = theirs[0]["options"]
            lines += [f"Model {setting}, latents {'x'.join(str(n) for n in theirs[0]['latents'])}; {o['images']} images an epoch, {o['steps']} steps, guidance {o['guidance_scale']}, "
                      f"LoRA rank {o['lora_rank']}, {o['updates']} updates, sampling batch {o['sample_batch']}, training batch {o['train_batch']}; "
                      f"ratio.first is within {max(r['ratioFirstMaxDeviation'] for r in mine):.0e} of 1. Ours counts all that a run does, checkpoints too.", ""]
            rows += [[what, spread([t["imagesPerSecond"][what] for t in theirs], 2), spread([m[what] for m in mine], 2),
                      spread([m[what] / t["imagesPerSecond"][what] for t, m in zip(theirs, mine)], 2)] for what in ("sampling", "training", "overall")]
            rows += [["peak memory, MB", f"{max(t['peakMemoryBytes'] for t in theirs) / 1e6:.0f}", f"{max(m['peakMb'] for m in mine):.0f}", ""]]
        lines += table(["", "PyTorch", "OrtRlhf", "faster by"], rows)

    pathlib.Path(target).write_text("\n".join(lines).rstrip() + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
