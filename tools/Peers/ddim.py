"""DDIM as a table: every step is x' ~ N(cX x + cM m, sigma^2), m the model's output. Coefficients in double; reads a scheduler_config.json."""

import math
from typing import NamedTuple

import torch


class GaussianStep(NamedTuple):
    timestep: int
    cX: float
    cM: float
    sigma: float


def alpha_bars(config):
    count, first, last = config.get("num_train_timesteps", 1000), config.get("beta_start", 1e-4), config.get("beta_end", 0.02)
    schedule = config.get("beta_schedule", "linear")
    if schedule == "linear":
        betas = torch.linspace(first, last, count, dtype=torch.float64)
    elif schedule == "scaled_linear":
        betas = torch.linspace(first ** 0.5, last ** 0.5, count, dtype=torch.float64) ** 2
    elif schedule == "squaredcos_cap_v2":
        def kept(i):
            return math.cos((i / count + 0.008) / 1.008 * math.pi / 2) ** 2
        betas = torch.tensor([min(1 - kept(i + 1) / kept(i), 0.999) for i in range(count)], dtype=torch.float64)
    else:
        raise SystemExit(f"beta_schedule {schedule} is not known here")
    bars = torch.cumprod(1 - betas, 0)
    if config.get("rescale_betas_zero_snr"):  # shift and stretch sqrt(alphaBar) so that the last one is zero and the first stays
        roots = bars.sqrt()
        bars = ((roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])) ** 2
    return bars.tolist()


def timesteps(config, steps):
    count, offset, spacing = config.get("num_train_timesteps", 1000), config.get("steps_offset", 0), config.get("timestep_spacing", "leading")
    if spacing == "leading":
        return [i * (count // steps) + offset for i in reversed(range(steps))]
    if spacing == "trailing":
        return [round(count - i * count / steps) - 1 for i in range(steps)]
    if spacing == "linspace":
        return [round((count - 1) * i / (steps - 1)) for i in reversed(range(steps))]
    raise SystemExit(f"timestep_spacing {spacing} is not known here")


def table(config, steps, eta):
    if config.get("clip_sample", True) or config.get("thresholding"):
        raise SystemExit("clip_sample and thresholding make the mean non-linear: set both to false in scheduler_config.json")
    bars, prediction = alpha_bars(config), config.get("prediction_type", "epsilon")
    final, rows = 1.0 if config.get("set_alpha_to_one", True) else bars[0], []
    for t in timesteps(config, steps):
        previous = t - config.get("num_train_timesteps", 1000) // steps
        at, ap = bars[t], bars[previous] if previous >= 0 else final
        sigma = eta * math.sqrt((1 - ap) / (1 - at)) * math.sqrt(1 - at / ap)
        d = math.sqrt(1 - ap - sigma ** 2)  # weight of the noise estimate in the mean; sqrt(ap) weighs the clean estimate
        if prediction == "epsilon":
            cX, cM = math.sqrt(ap / at), d - math.sqrt(ap * (1 - at) / at)
        elif prediction == "v_prediction":
            cX, cM = math.sqrt(ap * at) + d * math.sqrt(1 - at), d * math.sqrt(at) - math.sqrt(ap * (1 - at))
        elif prediction == "sample":
            cX, cM = d / math.sqrt(1 - at), math.sqrt(ap) - d * math.sqrt(at / (1 - at))
        else:
            raise SystemExit(f"prediction_type {prediction} is not known here")
        rows.append(GaussianStep(t, cX, cM, sigma))
    return rows


def log_prob(x, mean, sigma):
    """Mean over the latent's elements, in nats: -(x - mean)^2 / (2 sigma^2) - ln sigma - ln sqrt(2 pi). sigma is a number or [B]."""
    sigma = torch.as_tensor(sigma, dtype=x.dtype)
    error = ((x - mean) ** 2).mean(dim=(1, 2, 3))
    return -error / (2 * sigma ** 2) - torch.log(sigma) - 0.5 * math.log(2 * math.pi)
