"""What accuracies under attack say together: signs of masked gradients, and the scores of BEARD."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from ddcore import plugin as dd

BEARD = dd.Citation(
    "zhou2024beard",
    "Zhou, Zheng and Feng, Wenquan and Lyu, Shuchang and Cheng, Guangliang and Huang, Xiaowei and Zhao, Qi",
    "BEARD: Benchmarking the Adversarial Robustness for Dataset Distillation",
    "arXiv:2411.09265",
    2024,
    "article",
)
SLACK = 2.0
"""Points by which a weaker attack may be ahead by chance."""
MASKED = 5.0
"""Points that AutoAttack may find beyond PGD, and that may stay where an attack may change everything."""


@dataclass(frozen=True)
class Battery:
    """Accuracies in percent of one net, or means over nets, by what attacks them; all within one ball."""

    clean: float
    """Without an attack."""
    fgsm: float
    pgd20: float
    pgd100: float
    transfer: float
    """Items that were moved against another network."""
    anything: float
    """PGD-20 within a ball that holds every item."""
    beyond: float | None = None
    """Points that AutoAttack finds beyond PGD-20 on the same items; None where it was not asked for."""

    def flags(self) -> Iterator[str]:
        """What speaks against these numbers, in sentences; none where they can be believed.

        **Reference**: Athalye, Carlini and Wagner, Obfuscated Gradients Give a False Sense of Security, ICML 2018,
        Section 3.1; Carlini et al., On Evaluating Adversarial Robustness, 2019.
        """
        if self.anything > MASKED:
            yield (
                f"{self.anything:.1f} % withstand an attack that may change everything (epsilon 1), which nothing can:"
                " gradients are masked."
            )
        if self.pgd100 < self.pgd20 - SLACK:
            yield (
                f"PGD-100 finds {self.pgd20 - self.pgd100:.1f} points more than PGD-20, which has not come to its end:"
                " believe PGD-100."
            )
        if self.fgsm < self.pgd20 - SLACK:
            yield (
                f"One step (FGSM) finds {self.pgd20 - self.fgsm:.1f} points more than 20: gradients lead astray, they"
                " are masked."
            )
        if self.transfer < self.pgd20 - SLACK:
            yield (
                f"An attack on another network finds {self.pgd20 - self.transfer:.1f} points more than one that sees"
                " the network: gradients are masked."
            )
        if self.beyond is not None and self.beyond > MASKED:
            yield (f"AutoAttack finds {self.beyond:.1f} points more than PGD-20: believe AutoAttack's number.")


def robustness_ratio(clean: float, attacked: Sequence[float]) -> float:
    """BEARD's RR in percent: 100 (1 - (clean - mean attacked) / (clean - least attacked)), of accuracies.

    It says how far the attacks are from being equally strong, not how robust a network is: it is 0 for a single
    attack, however weak or strong, and has no meaning without the epsilon and the list of attacks.

    **Reference**: Zhou et al., 2024; from their code.
    """
    span = clean - min(attacked)
    return 100 * (1 - (clean - fmean(attacked)) / span) if span else 0.0


def attack_efficiency(clean: float, attacked: Sequence[float]) -> float:
    """BEARD's AE in percent: 100 (mean attacked - clean) / (largest attacked - clean), of seconds.

    **Reference**: Zhou et al., 2024; from their code.
    """
    span = max(attacked) - clean
    return 100 * (fmean(attacked) - clean) / span if span else 0.0


def sentences(named: Mapping[str, Battery]) -> str:
    """The flags of each, or that there are none."""
    said = [f"{name}: {flag}" for name, battery in named.items() for flag in battery.flags()]
    return " ".join(said) or "No sign of masked gradients in any of them."
