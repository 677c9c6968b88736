"""bench_unet.py FOLDER [--repeats N] [--threads N]: time and memory of a 35M-parameter LoRA UNet in PyTorch, printed as JSON.

The work: rank-4 LoRA on to_q, to_k, to_v, to_out.0; batch 2, 32x32 latents, 77 text tokens; `forward` is inference, `forwardBackward` an MSE loss
and all LoRA gradients. FOLDER is made when it is not there, from fixed seeds, for the other side to time exactly the same: the UNet in
diffusers' layout, lora.safetensors, and bench.safetensors with sample, timestep, encoder_hidden_states, target, out_sample, loss and grad.NAME
of each LoRA tensor.

Every setting and kind of work runs in a process of its own. `default` is PyTorch as it comes; `checkpoint` adds gradient checkpointing of
every residual and transformer block, which computes activations twice instead of keeping them; `lowMemory` is `checkpoint` with a C library
that gives freed blocks of 128 kB and more back at once (MALLOC_MMAP_THRESHOLD_, MALLOC_TRIM_THRESHOLD_). peakMb is the process's VmHWM, with
Python and PyTorch (idleMb before the model is loaded); afterLoadMb is the peak with the loading of the weights left out."""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import torch
from safetensors.torch import load_file, save_file

import folders
import lora
import unet

# Heads per level: 2, 2, 5, that is 32, 64 and 64 wide.
CONFIG = dict(
    _class_name="UNet2DConditionModel", in_channels=4, out_channels=4, sample_size=32, block_out_channels=[64, 128, 320], layers_per_block=2,
    down_block_types=["CrossAttnDownBlock2D"] * 3, up_block_types=["CrossAttnUpBlock2D"] * 3, cross_attention_dim=256,
    attention_head_dim=[2, 2, 5], norm_num_groups=32)
RANK, ALPHA, BATCH, TOKENS = 4, 4, 2, 77
SETTINGS = {
    "default": {},
    "checkpoint": {},
    "lowMemory": {"MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"},
}


def loss_and_gradients(model, parameters, inputs, target):
    output = model(*inputs)
    loss = ((output - target) ** 2).mean()
    return output, loss, torch.autograd.grad(loss, parameters)


def make(folder):
    model = folders.randomize(unet.UNet2DCondition(CONFIG), seed=35)
    folders.save(model, CONFIG, folder)
    parameters = lora.inject(model, RANK, ALPHA)
    lora.randomize(parameters, seed=36)
    lora.save(parameters, RANK, ALPHA, lora.ATTENTION, folder / "lora.safetensors")
    generator = torch.Generator().manual_seed(37)
    size = CONFIG["sample_size"]
    sample, target = (torch.randn(BATCH, 4, size, size, generator=generator) for _ in range(2))
    states = torch.randn(BATCH, TOKENS, CONFIG["cross_attention_dim"], generator=generator)
    timestep = torch.tensor([481])
    output, loss, gradients = loss_and_gradients(model, list(parameters.values()), (sample, timestep, states), target)
    tensors = dict(sample=sample, timestep=timestep, encoder_hidden_states=states, target=target, out_sample=output.detach(), loss=loss.detach())
    tensors |= {f"grad.{name}": value for name, value in zip(parameters, gradients)}
    save_file({name: value.contiguous() for name, value in tensors.items()}, folder / "bench.safetensors", metadata={"format": "pt"})


def memory(key):
    for line in pathlib.Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return round(int(line.split()[1]) * 1024 / 1e6)


def measure(folder, setting, work, repeats, threads):
    torch.set_num_threads(threads)
    idle = memory("VmRSS")
    model = unet.UNet2DCondition.load(folder)
    model.checkpointing = setting != "default"
    parameters = lora.inject(model, RANK, ALPHA)
    lora.load(parameters, load_file(folder / "lora.safetensors"))
    given = load_file(folder / "bench.safetensors")
    inputs, values = (given["sample"], given["timestep"], given["encoder_hidden_states"]), list(parameters.values())
    loading = memory("VmHWM")
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # starts VmHWM again from what is in use now

    def forward():
        with torch.inference_mode():
            return model(*inputs)

    def train():
        return loss_and_gradients(model, values, inputs, given["target"])[0]
    run, times = forward if work == "forward" else train, []
    for _ in range(3 + repeats):
        start = time.perf_counter()
        output = run()
        times.append((time.perf_counter() - start) * 1e3)
    times = times[3:]
    deviation = ((output - given["out_sample"]).abs().max() / given["out_sample"].abs().max()).item()
    return dict(medianMs=round(statistics.median(times), 1), minMs=round(min(times), 1), peakMb=max(loading, memory("VmHWM")),
                afterLoadMb=memory("VmHWM"), idleMb=idle, deviation=deviation)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("folder", type=pathlib.Path)
    options.add_argument("--repeats", type=int, default=20)
    options.add_argument("--threads", type=int, default=2)
    options.add_argument("--make-only", action="store_true", help="write FOLDER and time nothing")
    options.add_argument("--one", nargs=2, metavar=("SETTING", "WORK"), help="measure one combination in this process")
    o = options.parse_args()
    if o.one:
        print(json.dumps(measure(o.folder, *o.one, o.repeats, o.threads)))
        return
    if not (o.folder / "bench.safetensors").exists():
        make(o.folder)
    if o.make_only:
        return
    model = unet.UNet2DCondition(folders.read_config(o.folder))
    result = dict(torch=torch.__version__, threads=o.threads, repeats=o.repeats, parameters=sum(p.numel() for p in model.parameters()))
    for setting, environment in SETTINGS.items():
        result[setting] = {}
        for work in ("forward", "forwardBackward"):
            command = [sys.executable, __file__, str(o.folder), "--repeats", str(o.repeats), "--threads", str(o.threads), "--one", setting, work]
            child = subprocess.run(command, env=dict(os.environ, OMP_NUM_THREADS=str(o.threads), **environment), stdout=subprocess.PIPE, check=True)
            result[setting][work] = json.loads(child.stdout)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
