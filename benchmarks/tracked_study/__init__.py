"""A study of XGBoost trials, with and without MLflow and a storage that lasts."""
