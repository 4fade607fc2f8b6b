"""The states of the USA with their postal codes and census regions. Data, and what SQL makes of it.

The regions are those of the Census Bureau ("Census Regions and Divisions of the United States"), in lower case as the
data dictionary writes them. Territories belong to none.
"""

_BY_REGION = {
    "northeast": (
        "Connecticut CT, Maine ME, Massachusetts MA, New Hampshire NH, Rhode Island RI, Vermont VT, New Jersey NJ, "
        "New York NY, Pennsylvania PA"
    ),
    "midwest": (
        "Illinois IL, Indiana IN, Michigan MI, Ohio OH, Wisconsin WI, Iowa IA, Kansas KS, Minnesota MN, Missouri MO, "
        "Nebraska NE, North Dakota ND, South Dakota SD"
    ),
    "south": (
        "Delaware DE, District of Columbia DC, Florida FL, Georgia GA, Maryland MD, North Carolina NC, "
        "South Carolina SC, Virginia VA, West Virginia WV, Alabama AL, Kentucky KY, Mississippi MS, Tennessee TN, "
        "Arkansas AR, Louisiana LA, Oklahoma OK, Texas TX"
    ),
    "west": (
        "Arizona AZ, Colorado CO, Idaho ID, Montana MT, Nevada NV, New Mexico NM, Utah UT, Wyoming WY, Alaska AK, "
        "California CA, Hawaii HI, Oregon OR, Washington WA"
    ),
}

STATES: dict[str, tuple[str, str]] = {
    name: (code, region)
    for region, listed in _BY_REGION.items()
    for name, _, code in (entry.rpartition(" ") for entry in listed.split(", "))
}
"""Postal code and region by name."""


def state_code_sql(state: str) -> str:
    """The postal code of a state given by name or by code; what is neither stays as it is.

    Args:
        state: SQL expression.
    """
    return f"CASE upper({state}) {_cases({n.upper(): code for n, (code, _) in STATES.items()})} ELSE upper({state}) END"


def region_sql(code: str) -> str:
    """The census region of a state's postal code; null where it is none.

    Args:
        code: SQL expression of the code in capitals.
    """
    return f"CASE {code} {_cases(dict(STATES.values()))} END"


def _cases(mapping: dict[str, str]) -> str:
    return " ".join(f"WHEN '{key}' THEN '{value}'" for key, value in mapping.items())
