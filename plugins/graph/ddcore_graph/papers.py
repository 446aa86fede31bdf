"""The papers of this plugin."""

from ddcore import plugin as dd

KIPF = dd.Citation(
    "kipf2017gcn",
    "Kipf, Thomas N. and Welling, Max",
    "Semi-Supervised Classification with Graph Convolutional Networks",
    "International Conference on Learning Representations",
    2017,
)
WU = dd.Citation(
    "wu2019sgc",
    "Wu, Felix and Souza, Amauri and Zhang, Tianyi and Fifty, Christopher and Yu, Tao and Weinberger, Kilian",
    "Simplifying Graph Convolutional Networks",
    "International Conference on Machine Learning",
    2019,
)
VELICKOVIC = dd.Citation(
    "velickovic2018gat",
    "Veličković, Petar and Cucurull, Guillem and Casanova, Arantxa and Romero, Adriana and Liò, Pietro and"
    " Bengio, Yoshua",
    "Graph Attention Networks",
    "International Conference on Learning Representations",
    2018,
)
HAMILTON = dd.Citation(
    "hamilton2017sage",
    "Hamilton, William L. and Ying, Rex and Leskovec, Jure",
    "Inductive Representation Learning on Large Graphs",
    "Advances in Neural Information Processing Systems",
    2017,
)
GASTEIGER = dd.Citation(
    "gasteiger2019appnp",
    "Gasteiger, Johannes and Bojchevski, Aleksandar and Günnemann, Stephan",
    "Predict then Propagate: Graph Neural Networks meet Personalized PageRank",
    "International Conference on Learning Representations",
    2019,
)
JIN = dd.Citation(
    "jin2022gcond",
    "Jin, Wei and Zhao, Lingxiao and Zhang, Shichang and Liu, Yozen and Tang, Jiliang and Shah, Neil",
    "Graph Condensation for Graph Neural Networks",
    "International Conference on Learning Representations",
    2022,
)
DOSCOND = dd.Citation(
    "jin2022doscond",
    "Jin, Wei and Tang, Xianfeng and Jiang, Haoming and Li, Zheng and Zhang, Danqing and Tang, Jiliang and Yin, Bing",
    "Condensing Graphs via One-Step Gradient Matching",
    "ACM SIGKDD Conference on Knowledge Discovery and Data Mining",
    2022,
)
LIU = dd.Citation(
    "liu2022gcdm",
    "Liu, Mengyang and Li, Shanchuan and Chen, Xinshi and Song, Le",
    "Graph Condensation via Receptive Field Distribution Matching",
    "arXiv:2206.13697",
    2022,
    "article",
)
ZHENG = dd.Citation(
    "zheng2023sfgc",
    "Zheng, Xin and Zhang, Miao and Chen, Chunyang and Nguyen, Quoc Viet Hung and Zhu, Xingquan and Pan, Shirui",
    "Structure-free Graph Condensation: From Large-scale Graphs to Condensed Graph-free Data",
    "Advances in Neural Information Processing Systems",
    2023,
)
ZHANG = dd.Citation(
    "zhang2024geom",
    "Zhang, Yuchen and Zhang, Tianle and Wang, Kai and Guo, Ziyao and Liang, Yuxuan and Bresson, Xavier and Jin, Wei"
    " and You, Yang",
    "Navigating Complexity: Toward Lossless Graph Condensation via Expanding Window Matching",
    "International Conference on Machine Learning",
    2024,
)
WANG = dd.Citation(
    "wang2024gcsntk",
    "Wang, Lin and Fan, Wenqi and Li, Jiatong and Ma, Yao and Li, Qing",
    "Fast Graph Condensation with Structure-based Neural Tangent Kernel",
    "The Web Conference",
    2024,
)
ZHOU = dd.Citation(
    "zhou2022frepo",
    "Zhou, Yongchao and Nezhadarya, Ehsan and Ba, Jimmy",
    "Dataset Distillation using Neural Feature Regression",
    "Advances in Neural Information Processing Systems",
    2022,
)
HUANG = dd.Citation(
    "huang2021coarsening",
    "Huang, Zengfeng and Zhang, Shengzhong and Xi, Chong and Liu, Tang and Zhou, Min",
    "Scaling Up Graph Neural Networks via Graph Coarsening",
    "ACM SIGKDD Conference on Knowledge Discovery and Data Mining",
    2021,
)
SENER = dd.Citation(
    "sener2018coreset",
    "Sener, Ozan and Savarese, Silvio",
    "Active Learning for Convolutional Neural Networks: A Core-Set Approach",
    "International Conference on Learning Representations",
    2018,
)
YANG = dd.Citation(
    "yang2016planetoid",
    "Yang, Zhilin and Cohen, William W. and Salakhutdinov, Ruslan",
    "Revisiting Semi-Supervised Learning with Graph Embeddings",
    "International Conference on Machine Learning",
    2016,
)
