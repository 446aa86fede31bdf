"""The papers that the parts come from."""

from ddcore import plugin as dd

DC = dd.Citation(
    "zhao2021dc",
    "Zhao, Bo and Mopuri, Konda Reddy and Bilen, Hakan",
    "Dataset Condensation with Gradient Matching",
    "International Conference on Learning Representations",
    2021,
)
RESNET = dd.Citation(
    "he2016deep",
    "He, Kaiming and Zhang, Xiangyu and Ren, Shaoqing and Sun, Jian",
    "Deep Residual Learning for Image Recognition",
    "IEEE Conference on Computer Vision and Pattern Recognition",
    2016,
)
NAS_BENCH_201 = dd.Citation(
    "dong2020nasbench201",
    "Dong, Xuanyi and Yang, Yi",
    "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture Search",
    "International Conference on Learning Representations",
    2020,
)
ASHA = dd.Citation(
    "li2020asha",
    "Li, Liam and Jamieson, Kevin and Rostamizadeh, Afshin and Gonina, Ekaterina and Ben-tzur, Jonathan and Hardt,"
    " Moritz and Recht, Benjamin and Talwalkar, Ameet",
    "A System for Massively Parallel Hyperparameter Tuning",
    "Machine Learning and Systems",
    2020,
)
EVOLUTION = dd.Citation(
    "real2019evolution",
    "Real, Esteban and Aggarwal, Alok and Huang, Yanping and Le, Quoc V.",
    "Regularized Evolution for Image Classifier Architecture Search",
    "AAAI Conference on Artificial Intelligence",
    2019,
)
