"""The dashboards as code. `python -m grafana.builders` writes them to grafana/dashboards/."""
