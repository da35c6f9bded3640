"""Models of scikit-learn, fitted to its own small data sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.linear_model import Lasso, LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, RobustScaler, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

Array = np.ndarray[Any, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Pipeline:
    """An estimator and its data."""

    model: Any
    x: Array
    y: Array


def pipelines() -> Mapping[str, Pipeline]:
    """Fitted, by name."""
    flowers, kinds = load_iris(return_X_y=True)
    patients, progress = load_diabetes(return_X_y=True)
    flowers, patients = flowers.astype(np.float32), (10.0 * patients).astype(np.float32)
    classifiers = {
        "logistic regression": make_pipeline(StandardScaler(), LogisticRegression()),
        "normalizer, logistic regression": make_pipeline(Normalizer(), LogisticRegression()),
        "PCA, logistic regression": make_pipeline(PCA(2), LogisticRegression()),
        "linear SVC": LinearSVC(),
        "SGD, log loss": SGDClassifier(loss="log_loss", random_state=0),
        "linear discriminant analysis": LinearDiscriminantAnalysis(),
        "decision tree": DecisionTreeClassifier(max_depth=4, random_state=0),
        "random forest": RandomForestClassifier(10, max_depth=4, random_state=0),
        "gradient boosting": GradientBoostingClassifier(n_estimators=10, random_state=0),
        "perceptron": make_pipeline(StandardScaler(), MLPClassifier((16,), max_iter=300, random_state=0)),
        "SVC, RBF": SVC(),
        "Gaussian naive Bayes": GaussianNB(),
        "nearest neighbours": KNeighborsClassifier(3),
        "k-means": KMeans(3, random_state=0),
    }
    regressors = {
        "linear regression": LinearRegression(),
        "min-max scaler, ridge": make_pipeline(MinMaxScaler(), Ridge()),
        "robust scaler, lasso": make_pipeline(RobustScaler(), Lasso(0.1)),
        "decision tree, regression": DecisionTreeRegressor(max_depth=5, random_state=0),
        "extra trees, regression": ExtraTreesRegressor(10, max_depth=5, random_state=0),
        "gradient boosting, regression": GradientBoostingRegressor(n_estimators=10, random_state=0),
        "perceptron, regression": MLPRegressor(
            hidden_layer_sizes=(16,), max_iter=300, random_state=0, solver="lbfgs"
        ),
        "SVR, RBF": SVR(C=100.0),
    }
    found = {name: Pipeline(m.fit(flowers, kinds), flowers, kinds) for name, m in classifiers.items()}
    found |= {name: Pipeline(m.fit(patients, progress), patients, progress) for name, m in regressors.items()}
    return found
