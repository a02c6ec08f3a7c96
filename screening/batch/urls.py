"""Addresses of batches, backtests and aggregates under /api/v1/."""

from django.urls import path

from screening.batch import aggregate_api, api, backtest_api

urlpatterns = [
    path("screening/batches/", api.BatchListView.as_view(), name="batches"),
    path("screening/batches/<uuid:batch_id>/", api.BatchView.as_view(), name="batch"),
    path("screening/batches/<uuid:batch_id>/results/", api.BatchResultsView.as_view(), name="batch-results"),
    path("screening/batches/<uuid:batch_id>/cancel/", api.BatchCancelView.as_view(), name="batch-cancel"),
    path("screening/batches/<uuid:batch_id>/resume/", api.BatchResumeView.as_view(), name="batch-resume"),
    path("backtests/", backtest_api.BacktestListView.as_view(), name="backtests"),
    path("backtests/<uuid:backtest_id>/", backtest_api.BacktestView.as_view(), name="backtest"),
    path(
        "backtests/<uuid:backtest_id>/cancel/",
        backtest_api.BacktestCancelView.as_view(),
        name="backtest-cancel",
    ),
    path("aggregates/", aggregate_api.AggregatesView.as_view(), name="aggregates"),
]
