"""Methods: published compositions of parts, by family."""

from ddcore.recipes.bptt import dd, gtn, ld, ld_ridge, rat_bptt, rtp, sldd
from ddcore.recipes.decoupled import cda, edc, gvbsm, rded, sre2l
from ddcore.recipes.distribution import cafe, dance, dm, dsdm, fred, idm, it_gan, kfs, m3d, ncfm, taught_tiles
from ddcore.recipes.generative import d4m
from ddcore.recipes.gradient import accdd, dc, dcc, dsa, idc, intra_inter
from ddcore.recipes.kernel import frepo, kip, rfad
from ddcore.recipes.selection import el2n, forgetting, herding, k_center, random
from ddcore.recipes.trajectory import datm, ftd, haba, mtt, pad, tesla

METHODS = (
    accdd,
    cafe,
    cda,
    d4m,
    dance,
    datm,
    dc,
    dcc,
    dd,
    dm,
    dsa,
    dsdm,
    edc,
    el2n,
    forgetting,
    fred,
    frepo,
    ftd,
    gtn,
    gvbsm,
    haba,
    herding,
    idc,
    idm,
    intra_inter,
    it_gan,
    k_center,
    kfs,
    kip,
    ld,
    ld_ridge,
    m3d,
    mtt,
    ncfm,
    pad,
    random,
    rat_bptt,
    rded,
    rfad,
    rtp,
    sldd,
    sre2l,
    taught_tiles,
    tesla,
)
