"""The loops of the original programs, one member at a time, in plain Python.

Each takes curves, one value an evaluation, and returns (evaluations at which weights were kept, the
evaluation after which the loop was left, or None).
"""

import numpy as np


def best(values, mode="max", min_delta=0.0, patience=None):
    """Keep the best so far; leave after `patience` evaluations that were not."""
    kept, record, wait = [], None, 0
    for epoch, value in enumerate(values):
        gain = None if record is None else (value - record) * (1 if mode == "max" else -1)
        if not np.isnan(value) and (gain is None or gain > min_delta):
            kept.append(epoch)
            record, wait = value, 0
        else:
            wait += 1
        if patience is not None and wait >= patience:
            return kept, epoch
    return kept, None


def gcn(losses, early_stopping):
    """train.py of tkipf/gcn: the last weights are the ones that are tested."""
    cost_val = []
    for epoch, loss in enumerate(losses):
        cost_val.append(loss)
        if epoch > early_stopping and cost_val[-1] > np.mean(cost_val[-(early_stopping + 1) : -1]):
            return epoch
    return None


def gat(losses, accuracies, patience):
    """execute_cora.py of PetarV-/GAT; np.fmax, unlike its np.max, lets no NaN into a record."""
    kept, vlss_mn, vacc_mx, curr_step = [], np.inf, 0.0, 0
    for epoch, (loss, accuracy) in enumerate(zip(losses, accuracies, strict=True)):
        if accuracy >= vacc_mx or loss <= vlss_mn:
            if accuracy >= vacc_mx and loss <= vlss_mn:
                kept.append(epoch)
            vacc_mx = np.fmax(accuracy, vacc_mx)
            vlss_mn = np.fmin(loss, vlss_mn)
            curr_step = 0
        else:
            curr_step += 1
            if curr_step == patience:
                return kept, epoch
    return kept, None
