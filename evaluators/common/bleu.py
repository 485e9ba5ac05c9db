"""BLEU: Papineni et al. 2002 (BLEU: a method for automatic evaluation of machine translation).

Letters: `n` the words of an n-gram, `order` the largest.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from training.contracts import ConfigError

Words = Sequence[str]


def corpus_bleu(hypotheses: Sequence[Words], references: Sequence[Words], order: int = 4) -> float:
    """100 BP exp(mean_n log p_n) of a corpus, one reference each, without smoothing: in [0, 100].

    p_n is the share of the hypotheses' n-grams that their references have too, each counted at most
    as often as there; BP = min(1, exp(1 - r / c)) of r words of references and c of hypotheses. It
    is 0 where some p_n is.
    """
    found = [_counts(h, r, order) for h, r in zip(hypotheses, references, strict=True)]
    matches, totals = np.sum(found, axis=0) if found else np.zeros((2, order), np.int64)
    written = sum(len(words) for words in hypotheses)
    if not matches.all() or not totals.all():
        return 0.0
    shortness = min(0.0, 1.0 - sum(len(words) for words in references) / written)
    return float(100.0 * np.exp(shortness + np.log(matches / totals).mean()))


def sentence_bleu(hypothesis: Words, reference: Words, order: int = 4) -> float:
    """The same of one sentence, for comparing sentences: in [0, 100].

    Each p_n with n > 1 has one match and one n-gram more (Lin and Och 2004, section 3.2 of ORANGE),
    so that one without a common n-gram of four words is not as bad as any other.
    """
    matches, totals = _counts(hypothesis, reference, order).astype(np.float64)
    matches[1:] += 1.0
    totals[1:] += 1.0
    if not matches[0]:
        return 0.0
    shortness = min(0.0, 1.0 - len(reference) / len(hypothesis))
    return float(100.0 * np.exp(shortness + np.log(matches / totals).mean()))


def _counts(hypothesis: Words, reference: Words, order: int) -> np.ndarray:
    """int64 [2, order]: n-grams that match, and all, for n = 1, ..., order."""
    found = np.zeros((2, order), np.int64)
    for n in range(1, order + 1):
        said, true = _ngrams(hypothesis, n), _ngrams(reference, n)
        found[0, n - 1] = (said & true).total()
        found[1, n - 1] = said.total()
    return found


def _ngrams(words: Words, n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def sacrebleu(hypotheses: Sequence[str], references: Sequence[str]) -> tuple[float, str]:
    """(BLEU in [0, 100], the signature) of sacreBLEU's defaults: Post 2018, arXiv:1804.08771."""
    # Words that are cut already are meant here; the warning of them would be each run's.
    metric = imported("sacrebleu.metrics", "sacrebleu").BLEU(force=True)
    score = metric.corpus_score(list(hypotheses), [list(references)])
    return float(score.score), str(metric.get_signature())


def rouge(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """{"rouge1", "rouge2", "rougeL"}: mean F-measures with stemming, in [0, 100] (Lin 2004)."""
    names = ("rouge1", "rouge2", "rougeL")
    scorer = imported("rouge_score.rouge_scorer", "rouge-score").RougeScorer(names, True)
    found = [scorer.score(r, h) for h, r in zip(hypotheses, references, strict=True)]
    return {name: float(np.mean([100.0 * one[name].fmeasure for one in found])) for name in names}


def imported(module: str, package: str) -> Any:
    """The module of an optional package; raises ConfigError where it is not installed."""
    import importlib

    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"evaluators: 'translation' needs {package}: pip install {package} (the extra `text`)"
        ) from error
