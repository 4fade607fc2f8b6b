"""A wide, dirty file of hospital encounters, made up: the shape that real registries have, and nobody's data.

One row per encounter and 50 columns; patients come again; there is no date, only the number of the encounter; `?`, the
empty field and `Unknown/Invalid` mean that nothing is known, while `None` says that a test was not done; ages are
bands; there is no table of professionals; the outcome is whether the patient came back: `NO`, `<30` or `>30` days. The
first seven rows stand in it twice.
"""

import csv
import random
from pathlib import Path

DRUGS = (
    *("metformin", "repaglinide", "nateglinide", "chlorpropamide", "glimepiride", "acetohexamide", "glipizide"),
    *("glyburide", "tolbutamide", "pioglitazone", "rosiglitazone", "acarbose", "miglitol", "troglitazone"),
    *("tolazamide", "examide", "citoglipton", "insulin", "glyburide-metformin", "glipizide-metformin"),
    *("glimepiride-pioglitazone", "metformin-rosiglitazone", "metformin-pioglitazone"),
)
COLUMNS = (
    *("encounter_id", "patient_nbr", "race", "gender", "age", "weight", "admission_type_id"),
    *("discharge_disposition_id", "admission_source_id", "time_in_hospital", "payer_code", "medical_specialty"),
    *("num_lab_procedures", "num_procedures", "num_medications", "number_outpatient", "number_emergency"),
    *("number_inpatient", "diag_1", "diag_2", "diag_3", "number_diagnoses", "max_glu_serum", "A1Cresult"),
    *DRUGS,
    *("change", "diabetesMed", "readmitted"),
)
"""50 columns, named as such registries name them."""


def write_encounters(folder: Path, patients: int = 3000, seed: int = 11) -> Path:
    """Writes `encounters.csv`.

    Args:
        folder: Where to; made when absent.
        patients: Patients; a fifth of them comes again, once or more, most within weeks.
        seed: Of all that is random.

    Returns:
        The folder.
    """
    rng = random.Random(seed)  # noqa: S311 - made-up rows, no secret
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[float, dict[str, object]]] = []
    for patient in range(patients):
        age, severity, at = rng.randrange(10), rng.random(), rng.random()
        for visit in range(1 + (rng.random() < 0.2) + (rng.random() < 0.06)):
            rows.append((at, _encounter(rng, f"{8222157 + patient * 97}", age, severity, visit)))
            at += rng.random() * 0.03
    rows.sort(key=lambda row: row[0])
    with (folder / "encounters.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for number, (_, row) in enumerate(rows):
            writer.writerow({**row, "encounter_id": 90_000 + 12 * number})
        for number, (_, row) in enumerate(rows[:7]):  # an export that began twice
            writer.writerow({**row, "encounter_id": 90_000 + 12 * number})
    return folder


def _encounter(rng: random.Random, patient: str, age: int, severity: float, visit: int) -> dict[str, object]:
    earlier = visit + (rng.random() < severity / 2) + (rng.random() < severity / 3)
    risk = -3.4 + 3.2 * severity + 0.7 * earlier + 0.08 * age
    back = rng.random() < 1 / (1 + 2.718**-risk)
    drugs = {drug: rng.choices(["No", "Steady", "Up", "Down"], [0.9, 0.07, 0.02, 0.01])[0] for drug in DRUGS}
    return {
        "patient_nbr": patient,
        "race": rng.choices(["Caucasian", "AfricanAmerican", "Hispanic", "Asian", "Other", "?"], [70, 18, 4, 2, 2, 4])[
            0
        ],
        "gender": rng.choices(["Female", "Male", "Unknown/Invalid"], [53, 46.9, 0.1])[0],
        "age": f"[{age * 10}-{age * 10 + 10})",
        "weight": "?" if rng.random() < 0.97 else rng.choice(["[50-75)", "[75-100)", "[100-125)"]),
        "admission_type_id": rng.randint(1, 8),
        "discharge_disposition_id": rng.choices([1, 3, 6, 18], [60, 15, 15, 10])[0],
        "admission_source_id": rng.choices([1, 7, 4], [30, 60, 10])[0],
        "time_in_hospital": min(14, 1 + int(rng.expovariate(0.3) + 3 * severity)),
        "payer_code": rng.choices(["MC", "HM", "BC", "SP", "?"], [30, 10, 10, 10, 40])[0],
        "medical_specialty": rng.choices(["InternalMedicine", "Cardiology", "Surgery-General", "?"], [20, 10, 10, 60])[
            0
        ],
        "num_lab_procedures": max(1, int(rng.gauss(35 + 15 * severity, 12))),
        "num_procedures": rng.randrange(7),
        "num_medications": max(1, int(rng.gauss(10 + 10 * severity, 4))),
        "number_outpatient": int(rng.expovariate(2)),
        "number_emergency": int(rng.expovariate(3) + severity),
        "number_inpatient": earlier,
        "diag_1": rng.choice(["250.83", "428", "414", "786", "486", "V57", "?"]),
        "diag_2": rng.choice(["276", "427", "250.01", "E879", "?"]),
        "diag_3": rng.choice(["250", "401", "428", ""]),
        "number_diagnoses": min(16, 3 + int(9 * severity)),
        "max_glu_serum": rng.choices(["None", "Norm", ">200", ">300"], [94, 3, 2, 1])[0],
        "A1Cresult": rng.choices(["None", ">8", "Norm", ">7"], [83, 8, 5, 4])[0],
        **drugs,
        "change": rng.choice(["No", "Ch"]),
        "diabetesMed": rng.choices(["Yes", "No"], [77, 23])[0],
        "readmitted": rng.choices(["<30", ">30"], [40, 60])[0] if back else "NO",
    }
