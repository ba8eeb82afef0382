"""What dashboards, alerts and provisioning must agree on: uids, tags, colours, states."""

DATASOURCE_UID = "ml-prometheus"
FLEET_UID = "ml-fleet"
MODEL_UID = "ml-model"
DRIFT_UID = "ml-drift"
SERVING_UID = "ml-serving"
EXPORTER_UID = "ml-exporter"
TAG = "ml_exporter"

GOOD = "green"
NOTICE = "blue"
UNKNOWN = "purple"
WARNING = "orange"
BAD = "red"
NEUTRAL = "text"

# A model's state by the alerts that fire for it, worst last, with the word and colour that show it.
STATES = {
    0: ("fine", GOOD),
    1: ("info", NOTICE),
    2: ("unknown", UNKNOWN),
    3: ("ticket", WARNING),
    4: ("page", BAD),
}

# What a detector makes of the losses: the values of ml_concept_drift_state.
CONCEPT_STATES = {0: ("stable", GOOD), 1: ("warning", WARNING), 2: ("drift", BAD)}
