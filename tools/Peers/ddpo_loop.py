"""ddpo_loop.py MODEL [options]: DDPO end to end in PyTorch, to set our own loop's images per second against; prints JSON.

MODEL is a folder in diffusers' layout: unet (UNet2DConditionModel), text_encoder (CLIPTextModel), tokenizer, vae (AutoencoderTiny), scheduler.
An epoch samples images with guidance by stochastic DDIM, decodes them, scores minus their JPEG size (Pillow, quality 95) in kB, takes
advantages per prompt, and makes --updates AdamW steps on rank-r LoRA layers with the clipped importance-sampled objective over every
transition that has noise, the guided output having its gradient through both branches. `sampling` is the time of denoising, decoding and
scoring; `training` that of all forward and backward passes and updates. Prompts are encoded once, before the clock starts."""

import argparse
import collections
import io
import json
import pathlib
import time

import PIL.Image
import torch

import ddim
import lora
import text
import unet
import vae

PROMPTS = [f"a {size} {colour} {shape}" for size in ("small", "large") for colour in ("red", "blue") for shape in ("circle", "square", "star", "triangle")]


class PromptAdvantages:
    """(reward - mean) / std over the last rewards of the same prompt; over the batch while a prompt has fewer than `least`."""

    def __init__(self, size=16, least=16):
        self.least, self.history = least, collections.defaultdict(lambda: collections.deque(maxlen=size))

    def __call__(self, prompts, rewards):
        for prompt, reward in zip(prompts, rewards.tolist()):
            self.history[prompt].append(reward)

        def advantage(prompt, reward):
            known = self.history[prompt]
            known = torch.tensor(known) if len(known) >= self.least else rewards
            return (reward - known.mean()) / (known.std(correction=0) + 1e-8)
        return torch.stack([advantage(prompt, reward) for prompt, reward in zip(prompts, rewards)])


def jpeg_kilobytes(images):
    """images [B,3,H,W] in [-1,1] -> the size of each as a JPEG of quality 95, in units of 1000 bytes."""
    pixels = ((images / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()
    sizes = []
    for image in pixels:
        stream = io.BytesIO()
        PIL.Image.fromarray(image).save(stream, "JPEG", quality=95)
        sizes.append(stream.tell() / 1000)
    return torch.tensor(sizes)


def guided(model, x, timestep, states, empty, scale):
    """One call for both branches: empty prompt first. timestep is [B]."""
    if scale == 1:
        return model(x, timestep, states)
    output = model(torch.cat([x, x]), torch.cat([timestep, timestep]), torch.cat([empty.expand_as(states), states]))
    uncond, cond = output.chunk(2)
    return uncond + scale * (cond - uncond)


@torch.inference_mode()
def sample(o, model, decoder, steps, states, empty, generator):
    """(x of every step [steps+1,B,...], log-probs [steps,B], images) for one batch of prompt embeddings [B,S,D]."""
    size = o.latent_size or model.config["sample_size"]
    size = (size, size) if isinstance(size, int) else size
    x = torch.randn(len(states), model.config["in_channels"], *size, generator=generator)
    path, logps = [x], []
    for step in steps:
        mean = step.cX * x + step.cM * guided(model, x, torch.full((len(x),), step.timestep), states, empty, o.guidance_scale)
        x = mean + step.sigma * torch.randn(x.shape, generator=generator) if step.sigma > 0 else mean
        path.append(x)
        logps.append(ddim.log_prob(x, mean, step.sigma) if step.sigma > 0 else torch.zeros(len(x)))
    return torch.stack(path), torch.stack(logps), decoder(x)


def train(o, model, parameters, optimizer, steps, path, logps, states, empty, advantages, generator):
    """--updates optimizer steps, each over its share of the images and all their noisy transitions, in micro-batches with mixed timesteps."""
    noisy = torch.tensor([i for i, step in enumerate(steps) if step.sigma > 0])
    columns = {name: torch.tensor([getattr(step, name) for step in steps]) for name in ("timestep", "cX", "cM", "sigma")}
    first, clipped, count = 0.0, 0, 0
    for number, images in enumerate(torch.randperm(len(states), generator=generator).chunk(o.updates)):
        pairs = torch.cartesian_prod(images, noisy)
        pairs = pairs[torch.randperm(len(pairs), generator=generator)]
        optimizer.zero_grad(set_to_none=True)
        for image, step in (rows.unbind(1) for rows in pairs.split(o.train_batch)):
            x, after, old = path[step, image], path[step + 1, image], logps[step, image]
            cX, cM = (columns[name][step][:, None, None, None].float() for name in ("cX", "cM"))
            mean = cX * x + cM * guided(model, x, columns["timestep"][step], states[image], empty, o.guidance_scale)
            ratio = torch.exp(ddim.log_prob(after, mean, columns["sigma"][step].float()) - old)
            advantage = advantages[image].clamp(-o.advantage_clip, o.advantage_clip)
            loss = torch.maximum(-advantage * ratio, -advantage * ratio.clamp(1 - o.clip_range, 1 + o.clip_range)).sum() / len(pairs)
            loss.backward()
            off = (ratio.detach() - 1).abs()
            first = max(first, off.max().item()) if number == 0 else first
            clipped, count = clipped + (off > o.clip_range).sum().item(), count + len(image)
        torch.nn.utils.clip_grad_norm_(parameters, o.gradient_clip)
        optimizer.step()
    return dict(firstMaxDeviation=first, clipFraction=clipped / count)


def main(o):
    torch.set_num_threads(o.threads)
    torch.manual_seed(o.seed)
    generator = torch.Generator().manual_seed(o.seed)
    model, decoder = unet.UNet2DCondition.load(o.model / "unet").eval(), vae.TinyDecoder.load(o.model / "vae").eval()
    encoder, tokenizer = text.ClipText.load(o.model / "text_encoder"), text.Tokenizer(o.model / "tokenizer")
    steps = ddim.table(json.loads((o.model / "scheduler/scheduler_config.json").read_text()), o.steps, o.eta)
    prompts = o.prompts.read_text().split("\n") if o.prompts else PROMPTS
    prompts = [prompt for prompt in prompts if prompt.strip()]
    with torch.no_grad():
        states, empty = encoder(tokenizer.pad_batch(prompts))[0], encoder(tokenizer.pad_batch([""]))[0]
    parameters = list(lora.inject(model, o.lora_rank, o.lora_alpha or o.lora_rank).values())
    optimizer = torch.optim.AdamW(parameters, lr=o.lr, weight_decay=1e-4)
    advantages_of, epochs = PromptAdvantages(), []
    for _ in range(o.epochs):
        start = time.perf_counter()
        chosen = torch.randint(len(prompts), (o.images,), generator=generator)
        batches = [sample(o, model, decoder, steps, states[part], empty, generator) for part in chosen.split(o.sample_batch)]
        paths, logps = torch.cat([b[0] for b in batches], 1), torch.cat([b[1] for b in batches], 1)
        rewards = -torch.cat([jpeg_kilobytes(b[2]) for b in batches])
        sampled = time.perf_counter()
        advantages = advantages_of([prompts[i] for i in chosen], rewards)
        # Tensors made in inference mode may not enter a graph: clone gives ordinary ones.
        ratio = train(o, model, parameters, optimizer, steps, paths.clone(), logps.clone(), states[chosen], empty, advantages, generator)
        trained = time.perf_counter()
        epochs.append(dict(reward=round(rewards.mean().item(), 4), sampling=round(sampled - start, 3), training=round(trained - sampled, 3), ratio=ratio))
    # The first epoch pays for first-time allocations: leave it out where there are others.
    timed = epochs[1:] or epochs
    seconds = {name: sum(epoch[name] for epoch in timed) for name in ("sampling", "training")}
    images = o.images * len(timed)
    rates = {name: round(images / value, 3) for name, value in dict(seconds, overall=sum(seconds.values())).items()}
    peak = next(int(line.split()[1]) * 1024 for line in pathlib.Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    print(json.dumps(dict(
        torch=torch.__version__, threads=o.threads, options={key: str(value) if isinstance(value, pathlib.Path) else value for key, value in vars(o).items()},
        latents=list(paths.shape[2:]), loraParameters=sum(p.numel() for p in parameters), transitions=sum(step.sigma > 0 for step in steps),
        imagesPerSecond=rates, peakMemoryBytes=peak, epochs=epochs), indent=1))


if __name__ == "__main__":
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("model", type=pathlib.Path)
    options.add_argument("--prompts", type=pathlib.Path, help="one a line; sixteen of our own without it")
    options.add_argument("--epochs", type=int, default=4)
    options.add_argument("--images", type=int, default=64, help="images an epoch")
    options.add_argument("--sample-batch", type=int, default=16, help="images a denoiser call, doubled by guidance")
    options.add_argument("--train-batch", type=int, default=8, help="transitions a micro-batch, doubled by guidance")
    options.add_argument("--updates", type=int, default=4, help="optimizer steps an epoch")
    options.add_argument("--steps", type=int, default=10)
    options.add_argument("--eta", type=float, default=1.0)
    options.add_argument("--guidance-scale", type=float, default=3.0, help="1 for none")
    options.add_argument("--lr", type=float, default=1e-3)
    options.add_argument("--clip-range", type=float, default=5e-4)
    options.add_argument("--advantage-clip", type=float, default=5.0)
    options.add_argument("--gradient-clip", type=float, default=1.0)
    options.add_argument("--lora-rank", type=int, default=8)
    options.add_argument("--lora-alpha", type=float, help="the rank without it")
    options.add_argument("--latent-size", type=int, help="the UNet's sample_size without it")
    options.add_argument("--seed", type=int, default=7)
    options.add_argument("--threads", type=int, default=2)
    main(options.parse_args())
