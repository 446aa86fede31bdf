"""Networks: plans that build pure functions."""

from ddcore.networks.alexnet import AlexNet
from ddcore.networks.convnet import ConvNet
from ddcore.networks.lenet import LeNet
from ddcore.networks.mlp import MLP
from ddcore.networks.pretrained import Pretrained
from ddcore.networks.resnet import ResNet18
from ddcore.networks.vgg import VGG11

PARTS = (
    AlexNet,
    ConvNet,
    LeNet,
    MLP,
    Pretrained,
    ResNet18,
    VGG11,
)
