"""What tasks, networks and scenarios are called, with a line on each.

Apart from the code behind them, so that the command line can list them without loading torch.
"""

from __future__ import annotations

_KRIZHEVSKY = "Krizhevsky 2009, downloaded by torchvision"
TASKS = {
    "digits": "Alpaydin & Kaynak 1998, bundled with scikit-learn",
    "mnist": "LeCun et al. 1998, downloaded by torchvision",
    "fashion_mnist": "Xiao et al. 2017, downloaded by torchvision",
    "cifar10": _KRIZHEVSKY,
    "cifar100": _KRIZHEVSKY,
    "diabetes": "Efron et al. 2004, bundled with scikit-learn; a regression",
    "digit-pairs": "two digits on top of each other; several labels",
    "sources": "which package of Python's standard library lines of code are from; ten classes",
    "corpora": "characters of Python's code, docstrings, comments, tables and prose; next tokens",
}
TASK_MODELS = dict.fromkeys(TASKS, "cnn") | {
    **{"digits": "mlp", "diabetes": "mlp", "digit-pairs": "mlp"},
    **{"sources": "bag", "corpora": "transformer"},
}
MODELS = {
    "mlp": "one hidden layer, 64 wide (mlp:WIDTH for another)",
    "bag": "mean of a text's embeddings, 64 wide, and a linear layer (bag:WIDTH)",
    "transformer": "two causal layers, 64 wide (transformer:WIDTH); next tokens",
    "cnn": "three 3 x 3 convolutions with batch normalisation; 0.16 M parameters at 32 x 32",
    "airbench": "that of the CIFAR-10 speed runs, 64-256-256 channels wide (airbench:WIDTH)",
    "resnet18": "torchvision's, with a 3 x 3 stem for pictures under 65 pixels",
    "resnet50": "likewise",
}
SCENARIOS = {
    "clean": "the data as they are",
    "noise:F": "a fraction F of the training labels is wrong, or of other targets another sample's",
    "confusion:F": "a fraction F of the training labels of each class is that of one other class",
    "imbalance:R": "a long tail of classes in training, the largest R times the smallest",
    "tail:R": "the same in training, validation and test",
    "drift:R": "a long tail of classes in training, and the opposite one in validation and test",
    "copies:R": "the j-th most frequent training sample is there R / j times, most of them once",
    "duplicates:F": "a fraction F of the training samples are copies of the others",
    "validation-noise:F": "a fraction F of the validation labels is wrong",
}
