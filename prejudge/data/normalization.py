"""Published channel means and standard deviations, in 0..1 units."""

from __future__ import annotations

Normalization = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation of each channel, in 0..1 units."""

NORMALIZATIONS: dict[str, Normalization] = {
    # The deviations are means over images, not over pixels (.247 .243 .262): what zero-cost-nas and most others use.
    "cifar10": ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)),
    # Over pixels: the constants of DARTS' training.
    "cifar10-darts": ((0.49139968, 0.48215827, 0.44653124), (0.24703233, 0.24348505, 0.26158768)),
    # NAS-Bench-201's and TE-NAS's, over pixels, given over 255.
    "cifar10-nasbench201": (
        (125.3 / 255, 123.0 / 255, 113.9 / 255),
        (63.0 / 255, 62.1 / 255, 66.7 / 255),
    ),
    # NAS-Bench-101's, over pixels, given over 255.
    "cifar10-nasbench101": (
        (125.31 / 255, 122.95 / 255, 113.87 / 255),
        (62.99 / 255, 62.09 / 255, 66.70 / 255),
    ),
    "cifar100": ((0.5071, 0.4865, 0.4409), (0.2673, 0.2564, 0.2762)),
    # NAS-Bench-201's, given over 255.
    "cifar100-nasbench201": (
        (129.3 / 255, 124.1 / 255, 112.4 / 255),
        (68.2 / 255, 65.4 / 255, 70.4 / 255),
    ),
    "svhn": ((0.4377, 0.4438, 0.4728), (0.1980, 0.2010, 0.1970)),
    # NAS-Bench-201's, given over 255.
    "imagenet16-120": (
        (122.68 / 255, 116.66 / 255, 104.01 / 255),
        (63.22 / 255, 61.26 / 255, 65.09 / 255),
    ),
    "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "mnist": ((0.13066051707548254,), (0.30810780244715075,)),
    "fashionmnist": ((0.28604063146254594,), (0.35302426207299326,)),
}
"""By the name of the dataset."""
