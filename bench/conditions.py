"""What a classifier of conditions keeps of a fault: the AUC of what it finds, from its input to its embedding, and what more conditions and mixing give.

    python bench/conditions.py

Simulated sets as in DCASE Task 2 with plain faults, of 8 conditions (three sets), and four sets together, of 32. Each is learnt by three seeds; what is
found in good windows is scored by the same estimators. No labels are used but to judge. One process, some minutes.
"""
import resource
import tempfile
import time
import warnings

import numpy as np
import pandas as pd
import torch
from label_free_choice import fitted, scores, told_apart
from scipy.signal import istft, stft

import sounddetect as sd
from sounddetect.config import Memory
from sounddetect.models.angular_margin import angular_margin_loss
from sounddetect.models.condition_classifier import build_condition_classifier
from sounddetect.models.settings import ConditionClassifierSettings
from sounddetect.signal.inputs import Inputs

RATE, EPOCHS, BATCH = 16000, 30, 16
WAYS = ("not trained", "trained", "mixed", "altered")


def windows_of(place, folder, seed):
    """Recordings of a second `(recording, 1, time)`, their conditions, whether they are bad, and which are for the test."""
    sd.simulate(place, 320, seed=seed, form="dcase", sample_rate=RATE, fault_level=0)
    recordings = sd.load_recordings(place, cache_dir=f"{folder}/cache")
    table = recordings.table
    names = [f"{seed} {name}" for name in table["condition"]]
    return (torch.from_numpy(np.stack([recordings.read(i) for i in range(len(table))])).float(), np.array(names),
            (table["label"] == "NG").to_numpy(), (table["subset"] == "test").to_numpy())


def altered(windows, kinds, rng):
    """Windows with made-up faults: 0 none, 1 a band lifted, 2 a level that wavers, 3 another speed."""
    made = []
    for window, kind in zip(windows[:, 0].numpy(), kinds):
        time = np.arange(len(window)) / RATE
        if kind == 1:
            f, _, found = stft(window, RATE, nperseg=512)
            lift = rng.uniform(6, 12) * np.exp(-(np.log2((f + 1) / np.exp(rng.uniform(5, 8.7))) / 0.3) ** 2)
            window = istft(found * 10 ** (lift[:, None] / 20), RATE, nperseg=512)[1][: len(window)]
        elif kind == 2:
            window = window * (1 + 0.7 * np.sin(2 * np.pi * rng.uniform(5, 60) * time + rng.uniform(0, 6)))
        elif kind == 3:
            speed = 1 + rng.choice([-1, 1]) * rng.uniform(0.06, 0.12)
            window = np.interp(time * speed % time[-1], time, window)
        made.append(window)
    return torch.from_numpy(np.stack(made)).float()[:, None]


def learnt(windows, number, n_conditions, way, seed, epochs=EPOCHS):
    """A network that tells conditions apart, and made-up faults of each of them where the way is `altered`."""
    torch.manual_seed(seed)
    rng, n_kinds = np.random.default_rng(seed), 4 if way == "altered" else 1
    conditions = [str(k) for k in range(n_conditions * n_kinds)]
    settings = ConditionClassifierSettings(conditions=conditions, size="n")
    network = build_condition_classifier(settings, Inputs((1, RATE), RATE, (20, 7600), Memory())).train()
    with torch.no_grad():
        network.initialize_from_data({"features": part} for part in windows.split(BATCH))
    optimizer = torch.optim.Adam(network.parameters(), 1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * (len(windows) // BATCH))
    loss_of = lambda cosines, target: angular_margin_loss(cosines, target, settings.margin, settings.scale)
    for _ in range(0 if way == "not trained" else epochs):
        for some in torch.randperm(len(windows))[: len(windows) // BATCH * BATCH].split(BATCH):
            x, kinds = windows[some], rng.integers(0, n_kinds, BATCH)
            target = torch.eye(len(conditions))[number[some] * n_kinds + torch.from_numpy(kinds)]
            if way == "altered":
                x = altered(x, kinds, rng)
            if way == "mixed":       # as in Noisy-ArcMix: two windows in one, the margin for both
                share, other = torch.from_numpy(rng.beta(0.5, 0.5, BATCH)).float(), torch.randperm(BATCH)
                cosines = network(share[:, None, None] * x + (1 - share[:, None, None]) * x[other])
                loss = (share * loss_of(cosines, target) + (1 - share) * loss_of(cosines, target[other])).mean()
            else:
                loss = loss_of(network(x), target).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return network.eval()


@torch.no_grad()
def found_in(network, windows):
    """Vectors `(window, value)` by where they are found: input, blocks, embedding."""
    vectors = []
    for part in windows.split(64):
        x = network.plane(part)
        steps = {"log-mel": torch.cat([x[:, 0].mean(2), x[:, 0].std(2)], 1)}
        for k, block in enumerate(network.cnn.blocks, 1):
            x = block(x)
            steps[f"block {k}"] = torch.cat([x.mean((2, 3)), x.std((2, 3))], 1)
        vectors.append(steps | {"embedding": network.embed(part)})
    return {name: torch.cat([one[name] for one in vectors]) for name in vectors[0]}


def rows_of(data, name, seed):
    """AUC, the mean over conditions, for each way of training and each place."""
    windows, condition, is_bad, is_test = data
    names = sorted(set(condition[~is_test]))
    number = torch.tensor([names.index(one) for one in condition[~is_test]])
    for way in WAYS[:3] if len(names) > 8 else WAYS:
        network = learnt(windows[~is_test], number, len(names), way, seed, EPOCHS if len(names) <= 8 else EPOCHS // 2)
        good, tested = found_in(network, windows[~is_test]), found_in(network, windows[is_test])
        for place, vectors in good.items():
            spread = vectors.std(0) + 1e-6
            for kind in ("mahalanobis", "neighbors"):
                scored = scores(fitted(kind, vectors / spread), tested[place] / spread)
                own = [condition[is_test] == one for one in names]
                auc = np.mean([told_apart(scored[one & ~is_bad[is_test]], scored[one & is_bad[is_test]]) for one in own])
                yield {"set": name, "training": way, "estimator": kind, "place": place, "auc": auc}


if __name__ == "__main__":
    warnings.simplefilter("ignore", UserWarning)
    torch.set_num_threads(1)
    started = time.process_time()
    with tempfile.TemporaryDirectory() as folder:
        sets = [windows_of(f"{folder}/{seed}", folder, seed) for seed in range(4)]
        together = (torch.cat([one[0] for one in sets]), *(np.concatenate(parts) for parts in list(zip(*sets))[1:]))
        rows = [row for seed in range(3) for name, data in (("8 conditions", sets[seed]), ("32 conditions", together))
                for row in rows_of(data, name, seed)]
    table = pd.DataFrame(rows).pivot_table(index=["set", "estimator", "training"], columns="place", values="auc", sort=False)
    print(table.round(3).to_string())
    print(f"{time.process_time() - started:.0f} s of one core, {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:.0f} MB at most")
