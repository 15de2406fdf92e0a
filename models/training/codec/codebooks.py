"""Learns the codebooks of the profile `vq` from the latents of the trained networks.

    python codec/codebooks.py small --data DIR --minutes 8

Latents of a position are cut into parts of four channels; a part is a sum of code vectors of as
many stages as its class says (docs/bitstream.md, "Profile vq"). Each round codes all parts with
what is known so far, by squared error plus the price of the bits, and learns from it: code vectors
are the means of what they stood for (Chou, Lookabaugh and Gray 1989, "Entropy-constrained vector
quantization"), tables are what was counted, the predictor is a least-squares fit on decoded
neighbours. `--minutes` of CPU time are shared by both kinds of frames; what is learned is saved
after each round, and the next run goes on from there, also with networks that were trained further.
`export.py` writes it into the model file.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import torch

from checkpoints import WORK, load_average
from nets import GROUPS, LATENTS, LEVELS, TIERS, UNIT
from tasks import slices
from train import Options, task_of

SIZE = 4
"""Latents of a part."""
PARTS = LATENTS // SIZE
FAMILIES = (2, 2, 4, 4, 8, 16, 24, 36)
"""How many neighbouring parts share codebooks, low frequencies first."""
STAGES, WORDS, CLASSES = 4, 256, 7
GROWTH = 4.0
"""What the code vectors of a stage grow by from one stage to the next, about; exactly, beyond the last."""
ONE_STAGE = 1.6
"""The greatest magnitude of a part that one stage is enough for, in steps."""
CONTEXTS = 36
CLASS_TABLES = 64
PREDICTED = 16
"""Latents that are predicted from the positions around: the coarse picture."""
PREDICTOR_LEVELS = 8
PRICE = 0.05
"""What a bit costs in squares of the step, as in nets/search.rs."""
UNITS = 32
"""Code vectors are stored in 1/32 of a step."""
PATCH = 192


def arguments():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tier", choices=sorted(TIERS))
    parser.add_argument("--data", required=True, help="folder that holds train/ and video/")
    parser.add_argument("--minutes", type=float, default=8, help="CPU time for both kinds (GPU: of the clock)")
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    parser.add_argument("--batches", type=int, default=80, help="batches of eight crops to learn from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--work", type=Path, default=WORK, help="caches and checkpoints")
    return parser.parse_args()


def around(x):
    """What is to the left, above and above to the left of `[slices, rows, columns, ...]`; 0 outside."""
    left, above, corner = (torch.zeros_like(x) for _ in range(3))
    left[:, :, 1:], above[:, 1:], corner[:, 1:, 1:] = x[:, :, :-1], x[:, :-1], x[:, :-1, :-1]
    return left, above, corner


def contexts(classes):
    """The context of each class, `[slices, rows, columns, parts]`."""
    left, above, _ = around(classes)
    both = torch.nn.functional.pad(left + above, (0, 1))
    own = torch.nn.functional.pad(classes, (3, 0))
    a = 2 * both[..., :-1] + both[..., 1:]
    b = 2 * own[..., 2:-1] + own[..., 1:-2] + own[..., :-3]

    def step(v):
        return torch.bucketize(v, torch.tensor([1, 2, 4, 8, 16], device=v.device), right=True)

    return 6 * step(a) + step(b)


def frequencies(counts):
    """Counts, by the last axis, as frequencies of at least 1 that add up to 2^14."""
    flat = counts.reshape(-1, counts.shape[-1]).astype(np.float64) + 0.05
    share = flat / flat.sum(1, keepdims=True) * (2**14 - flat.shape[1])
    whole = np.floor(share).astype(np.int64) + 1
    for row, rest in zip(whole, share - np.floor(share)):
        row[np.argsort(-rest, kind="stable")[: 2**14 - row.sum()]] += 1
    return whole.reshape(counts.shape).astype(np.int16)


def bits_of(found):
    """What symbols cost by a table of frequencies."""
    return 14 - torch.log2(found.float())


class Trainer:
    """Codebooks, tables and predictor of a kind of frames."""

    def __init__(self, y, level, steps, saved):
        """`y` are latents `[slices, rows, columns, 384]`, `steps` those of each level."""
        self.y, self.level, self.steps = y, level, steps[level][:, None, None]
        self.shape, self.count = y.shape[:3], y.shape[:3].numel()
        self.by_position = level[:, None, None].expand(self.shape).reshape(-1)
        self.family = torch.repeat_interleave(torch.arange(len(FAMILIES)), torch.tensor(FAMILIES)).tolist()
        self.decoded, self.classes = y, torch.zeros(*self.shape, PARTS, dtype=torch.long)
        device = y.device
        self.classes = self.classes.to(device)
        top = torch.zeros(self.shape, dtype=torch.long, device=device)
        top[:, 1:, 1:], top[:, 0, 1:], top[:, 1:, 0] = 3, 1, 2
        self.case = top
        # Before anything was counted, as long as contexts are not known: a bit more for each class.
        self.class_bits = (0.3 + torch.arange(CLASSES, device=device)).expand(LEVELS, PARTS, CONTEXTS, -1)
        self.predict()
        if saved is None:
            self.begin()
            self.index_bits = torch.full((len(FAMILIES), STAGES, 2, WORDS), 8.0, device=device)
        else:
            self.books = torch.from_numpy(saved["books"]).to(device).float() / UNITS
            self.index_bits = bits_of(torch.from_numpy(saved["index"]).to(device))

    def predict(self):
        """Fits the predictor to what was decoded; what is left of the latents, in steps."""
        inputs = torch.cat(around(self.decoded[..., :PREDICTED]), -1)
        weights = np.zeros((LEVELS // PREDICTOR_LEVELS, 3, PREDICTED, 3 * PREDICTED), np.int16)
        left = self.y.clone()
        for n in range(len(weights)):
            for case in (1, 2, 3):
                where = (self.level // PREDICTOR_LEVELS == n)[:, None, None] & (self.case == case)
                if where.sum() < 10 * PREDICTED:
                    continue
                x, wanted = inputs[where].double(), self.y[..., :PREDICTED][where].double()
                # Errors count in steps.
                scale = 1 / self.steps.expand_as(self.y)[..., :1][where].double()
                xw = x * scale
                normal = xw.T @ xw
                normal += torch.eye(len(normal), device=x.device) * (1e-3 * normal.diagonal().mean() + 1)
                solved = torch.linalg.solve(normal, xw.T @ (wanted * scale))
                whole = (solved.T * 4096).round().clamp(-8191, 8191)
                weights[n, case - 1] = whole.cpu().numpy()
                left[..., :PREDICTED][where] -= (x @ whole.T / 4096).float()
        self.weights, self.rest = weights, left
        self.parts = (left / self.steps).reshape(self.count, PARTS, SIZE)

    def stages(self, x):
        """The class that fits the magnitude of parts."""
        most = x.abs().amax(-1)
        fits = 1 + torch.ceil(torch.log2(most / ONE_STAGE).clamp(min=0) / np.log2(GROWTH))
        return fits.clamp(1, CLASSES - 1).long(), most

    def book(self, family, stage):
        """The code vectors of a stage; beyond the last codebook in larger units."""
        return self.books[family, min(stage, STAGES) - 1] * GROWTH ** max(0, stage - STAGES)

    def begin(self):
        """First codebooks: k-means by magnitude, the coarsest stage first."""
        self.books = torch.zeros(len(FAMILIES), STAGES, WORDS, SIZE, device=self.y.device)
        for family in range(len(FAMILIES)):
            which = [p for p in range(PARTS) if self.family[p] == family]
            x = self.parts[:, which].reshape(-1, SIZE)
            fits, most = self.stages(x)
            x, fits = x[most > 0.6], fits[most > 0.6]
            for stage in range(CLASSES - 1, 0, -1):
                if stage > STAGES:
                    continue
                part = fits >= stage
                self.books[family, stage - 1] = means(x[part], GROWTH ** (stage - 1))
                for more in range(CLASSES - 1, stage, -1):
                    if stage == STAGES:
                        far = fits >= more
                        x[far] -= nearest(x[far], self.book(family, more))
                x[part] -= nearest(x[part], self.book(family, stage))

    def choose(self, p, context):
        """Codes a part everywhere: class, index of each stage, sum of code vectors, bits of class and indices."""
        x, family = self.parts[:, p], self.family[p]
        rates = self.class_bits[self.by_position, p, context]
        least = x.square().sum(1) + PRICE * rates[:, 0]
        chosen = torch.zeros(len(x), dtype=torch.long, device=x.device)
        index = torch.full((len(x), CLASSES), -1, dtype=torch.long, device=x.device)
        known, spent = torch.zeros_like(x), torch.zeros(len(x), device=x.device)
        fits, _ = self.stages(x)
        worth = least > PRICE * (rates[:, 1:].amin(1) + 1)
        for k in range(1, CLASSES):
            where = (worth & (k >= fits - 1) & (k <= fits + 1)).nonzero()[:, 0]
            if not len(where):
                continue
            rest, bits = x[where].clone(), torch.zeros(len(where), device=x.device)
            found = torch.full((len(where), CLASSES), -1, dtype=torch.long, device=x.device)
            for stage in range(k, 0, -1):
                words = self.book(family, stage)
                own = self.index_bits[family, min(stage, STAGES) - 1, int(stage == k)]
                offsets = words.square().sum(1) + PRICE * own
                i = torch.addmm(offsets, rest, words.T, alpha=-2).argmin(1)
                rest -= words[i]
                bits += own[i]
                found[:, stage] = i
            cost = rest.square().sum(1) + PRICE * (bits + rates[where, k])
            better = cost < least[where]
            at = where[better]
            least[at], chosen[at], index[at] = cost[better], k, found[better]
            known[at], spent[at] = (x[where] - rest)[better], bits[better]
        return chosen, index, known, spent, rates.gather(1, chosen[:, None])[:, 0]

    def round(self):
        """Codes everything, learns from it; a line for the log."""
        device = self.y.device
        context = contexts(self.classes).reshape(self.count, PARTS)
        sums = torch.zeros(len(FAMILIES), STAGES, WORDS, SIZE, device=device)
        hits = torch.zeros(len(FAMILIES), STAGES, 2, WORDS, device=device)
        decoded, classes = torch.empty_like(self.parts), torch.empty_like(context)
        bits = torch.zeros(self.count, device=device)
        for p in range(PARTS):
            family = self.family[p]
            chosen, index, known, spent, of_class = self.choose(p, context[:, p])
            for stage in range(1, CLASSES):
                for first in (0, 1):
                    at = ((index[:, stage] >= 0) & ((chosen == stage) == bool(first))).nonzero()[:, 0]
                    if not len(at):
                        continue
                    i, book = index[at, stage], min(stage, STAGES) - 1
                    stood_for = self.parts[at, p] - known[at] + self.book(family, stage)[i]
                    sums[family, book].index_add_(0, i, stood_for / GROWTH ** max(0, stage - STAGES))
                    hits[family, book, first] += torch.bincount(i, minlength=WORDS)
            decoded[:, p], classes[:, p] = known, chosen
            bits += spent + of_class
        error = (self.parts - decoded).square().sum((1, 2)) / LATENTS
        line = "   ".join(
            f"{n}: {bits[at].mean() / 256:.4f} bpp {error[at].mean():.4f}"
            for n in range(0, LEVELS, 8)
            for at in [(self.by_position >= n) & (self.by_position < n + 8)]
        )
        # What was decoded, as the next round's neighbours see it.
        whole = decoded.reshape(self.y.shape) * self.steps
        whole[..., :PREDICTED] += (self.y - self.rest)[..., :PREDICTED]
        self.decoded = whole.clamp(-2047, 2047)
        self.classes = classes.reshape(*self.shape, PARTS)
        self.tables(hits)
        self.move(sums, hits.sum(2))
        self.predict()
        return line

    def tables(self, hits):
        """Frequencies of indices and classes."""
        self.index = frequencies(hits.cpu().numpy())
        self.index_bits = bits_of(torch.from_numpy(self.index)).to(self.y.device)
        context = contexts(self.classes).reshape(self.count, PARTS)
        parts = torch.arange(PARTS, device=self.y.device)
        key = (self.by_position[:, None] * PARTS + parts) * CONTEXTS + context
        key = (key * CLASSES + self.classes.reshape(self.count, PARTS)).reshape(-1)
        counts = torch.bincount(key, minlength=LEVELS * PARTS * CONTEXTS * CLASSES)
        counts = counts.cpu().double().view(LEVELS, PARTS, CONTEXTS, CLASSES)
        # What a level lacks, the ones next to it tell, and what a context lacks, the others of the part.
        spread = counts.clone()
        for far, weight in ((1, 0.7), (2, 0.4), (3, 0.2)):
            spread[far:] += weight * counts[:-far]
            spread[:-far] += weight * counts[far:]
        prior = spread.sum(1, keepdim=True) + 1e-3
        spread += 1.5 * prior / prior.sum(-1, keepdim=True)
        self.class_frequencies, self.table = cluster(spread.view(-1, CLASSES), CLASS_TABLES)
        self.table = self.table.reshape(LEVELS, PARTS, CONTEXTS)
        chosen = torch.from_numpy(self.class_frequencies)[torch.from_numpy(self.table).long()]
        self.class_bits = bits_of(chosen).to(self.y.device)

    def move(self, sums, hits):
        """Code vectors to the means of what they stood for; those of no use beside those of much."""
        for books, total, count in zip(self.books.flatten(0, 1), sums.flatten(0, 1), hits.flatten(0, 1)):
            used = count > 0
            books[used] = total[used] / count[used][:, None]
            idle = (~used).nonzero()[:, 0]
            if len(idle) and used.any():
                busy = count.argsort(descending=True)[: len(idle)]
                books[idle[: len(busy)]] = books[busy] * (1 + 0.1 * torch.randn(len(busy), SIZE, device=books.device))
        # Whatever comes, the coarsest codebook has something in its direction.
        axes = torch.cat([torch.eye(SIZE), -torch.eye(SIZE)]).to(self.books.device)
        self.books[:, -1, -2 * SIZE :] = axes * ONE_STAGE * GROWTH ** (STAGES - 1)

    def tensors(self):
        """What the model file has."""
        whole = (self.books * UNITS).round().clamp(-(2**15) + 1, 2**15 - 1).cpu().numpy().astype(np.int16)
        return {
            "books": whole,
            "family": np.array(self.family, np.uint8),
            "class": self.class_frequencies,
            "index": self.index,
            "table": self.table,
            "predict": self.weights,
        }


def nearest(x, words):
    """The nearest code vectors."""
    return words[torch.addmm(words.square().sum(1), x, words.T, alpha=-2).argmin(1)]


def means(x, scale, most=20000, rounds=6):
    """k-means of some of the vectors; invented ones of this scale where there are few."""
    if len(x) < 2 * WORDS:
        return torch.randn(WORDS, SIZE, device=x.device) * 0.7 * scale
    x = x[torch.randperm(len(x), device=x.device)[:most]]
    words = x[torch.randint(len(x), (WORDS,), device=x.device)] + torch.randn(WORDS, SIZE, device=x.device) * 0.05
    for _ in range(rounds):
        i = torch.addmm(words.square().sum(1), x, words.T, alpha=-2).argmin(1)
        count = torch.bincount(i, minlength=WORDS)
        total = torch.zeros_like(words).index_add_(0, i, x)
        others = x[torch.randint(len(x), (WORDS,), device=x.device)]
        words = torch.where(count[:, None] > 0, total / count.clamp(min=1)[:, None], others)
    return words


def cluster(counts, tables, rounds=12):
    """A few tables that code all rows of counts in about the fewest bits: frequencies, and which row takes which."""
    share = counts / counts.sum(1, keepdim=True)
    weight = counts.sum(1)
    # The start: rows ordered by their mean class, in parts of equal weight.
    mean = share @ torch.arange(counts.shape[1], dtype=counts.dtype)
    order = mean.argsort()
    which = torch.empty(len(counts), dtype=torch.long)
    along = weight[order].sqrt().cumsum(0)
    which[order] = (along / along[-1] * tables).long().clamp(max=tables - 1)
    for _ in range(rounds):
        total = torch.zeros(tables, counts.shape[1], dtype=counts.dtype).index_add_(0, which, counts) + 1e-3
        which = (share @ -(total / total.sum(1, keepdim=True)).log2().T).argmin(1)
    total = torch.zeros(tables, counts.shape[1], dtype=counts.dtype).index_add_(0, which, counts)
    return frequencies(total.numpy()), which.numpy().astype(np.uint8)


@torch.no_grad()
def latents(net, args, device):
    """Latents of crops, their levels, and the steps of all levels."""
    options = Options(args.tier, "inter" if net.inter else "intra", args.data, args.work)
    closed = args.work / f"codec-{args.tier}-pairs-train-closed.npz"
    options.closed = net.inter and closed.exists()
    task = task_of(options, device)
    generator = torch.Generator(device).manual_seed(args.seed)
    found, levels = [], []
    for _ in range(args.batches):
        x, p, level = task.batch(generator, 8, PATCH)
        level = level.repeat_interleave(PATCH // 64)
        found.append((net.analysis(slices(x), slices(p), level) * UNIT).clamp(-2047, 2047))
        levels.append(level)
    return torch.cat(found), torch.cat(levels), net.steps()


def main():
    """Learns for intra and for inter frames."""
    args = arguments()
    torch.set_num_threads(1)
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    clock = time.process_time if device == "cpu" else time.monotonic
    torch.manual_seed(args.seed)
    kinds = [k for k in ("intra", "inter") if (args.work / f"codec-{args.tier}-{k}.pt").exists()]
    for kind in kinds:
        begun = clock()
        net = load_average(args.work / f"codec-{args.tier}-{kind}.pt")
        saved, path = None, args.work / f"codec-{args.tier}-{kind}-vq.npz"
        if path.exists():
            with np.load(path) as arrays:
                saved = dict(arrays)
        with torch.no_grad():
            trainer = Trainer(*latents(net.to(device), args, device), saved)
            part, number, last = path.with_suffix(".tmp.npz"), 0, 0.0
            # A round is begun if it will end in time.
            while number < 2 or clock() - begun + last < args.minutes * 60 / len(kinds):
                start = clock()
                line = trainer.round()
                last, number = clock() - start, number + 1
                np.savez(part, **trainer.tensors())
                part.rename(path)
                print(f"{kind} round {number} {clock() - begun:.0f} s   {line}", flush=True)


if __name__ == "__main__":
    main()
