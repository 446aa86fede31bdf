"""Recommender data: who used which items, distilled into a few synthetic users on which recommenders learn as well."""

from ddcore import plugin as dd
from ddcore_recommender.interactions import Interactions, Tastes, histories
from ddcore_recommender.kind import History, Itself
from ddcore_recommender.measures import HitRate, Ndcg, Propensity
from ddcore_recommender.models import ALS, EASE, InfiniteAutoencoder, Popular
from ddcore_recommender.recipes import distill_cf, head_users
from ddcore_recommender.users import HeadUsers, SampledUsers

__all__ = [
    "ALS",
    "EASE",
    "HeadUsers",
    "History",
    "HitRate",
    "InfiniteAutoencoder",
    "Interactions",
    "Itself",
    "Ndcg",
    "Popular",
    "Propensity",
    "SampledUsers",
    "Tastes",
    "distill_cf",
    "head_users",
    "histories",
]

ddcore_api = ">=1.0,<2"


@dd.hookimpl
def ddcore_parts():
    models = [ALS, EASE, InfiniteAutoencoder, Popular]
    measures = [HitRate, Ndcg, Propensity]
    return [History, Itself, Interactions, Tastes, SampledUsers, HeadUsers, *models, *measures, distill_cf, head_users]
