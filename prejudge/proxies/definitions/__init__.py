"""The proxies themselves: one short function each over a probe. Importing this package registers them all."""

from prejudge.proxies.definitions import baselines, flow, gradients, kernels, regions, zen

__all__ = ["baselines", "flow", "gradients", "kernels", "regions", "zen"]
