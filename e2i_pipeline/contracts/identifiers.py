"""Names under which a source delivers what identifies a person by itself. Data only.

How a column's name is held against them stands in `domain/privacy.py`, the classes of the canonical columns in
`tables.py`. The kinds are those of HIPAA's Safe Harbor (45 CFR 164.514(b)(2)(i)) that one column can hold; what
identifies only in combination (a ZIP code, a city) is classified as a quasi-identifier instead.
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DIRECT_NAMES: dict[str, frozenset[str]] = {
    "name": _words(
        "name firstname lastname middlename surname forename givenname familyname fullname maidenname displayname "
        "initials"
    ),
    "birth date": _words(
        "dob birthdate birthday birthdatetime birthtimestamp dateofbirth datebirth dateandtimeofbirth"
    ),
    "e-mail": _words("email emailaddress mail"),
    "telephone": _words("phone telephone tel mobile mobilephone cell cellphone cellular landline msisdn fax"),
    "address": _words(
        "address street streetname streetaddress streetnumber housenumber addressline postaladdress mailingaddress addr"
    ),
    "national number": _words(
        "ssn socialsecurity socialsecuritynumber nationalid nationalidentifier nhs nationalinsurance passport taxid"
    ),
    "medical record": _words("mrn medicalrecord medicalrecordnumber medicalrecordid chartnumber personsourcevalue"),
    "health plan": _words("memberid subscriberid beneficiaryid insuranceid policynumber healthplanid healthplannumber"),
    "account or licence": _words(
        "accountnumber licensenumber licencenumber medicallicense driverslicense driverlicense licenseplate vin iban "
        "creditcard"
    ),
    "professional": _words("npi nationalprovideridentifier dea upin"),
    "device or network": _words("ip ipaddress mac macaddress deviceid deviceserial imei"),
    "picture or biometric": _words("photo photograph fingerprint faceimage"),
}
"""Names by kind: lower case, without separators."""

WHOSE = _words(
    "patient person member subject individual customer client hcp provider physician prescriber doctor dr clinician "
    "practitioner nurse contact emergency guardian caregiver spouse home work office business personal private primary "
    "secondary preferred alternate current legal birth full main mailing billing"
)
"""Words before such a name that say whose it is: `patient_email`, `home_phone`."""

WHAT = _words("number num no nr address addr line text value raw str string 1 2 3 4")
"""Words behind such a name that say in which form it is: `phone_number`, `address_line_1`."""
