"""The Nessie source in Dremio that our tables lie in."""

from __future__ import annotations

import logging
from typing import Any
from urllib.parse import quote

from dremio_rest import Rest, RestAnswer
from lakehouse.tables import CATALOG
from lakehouse.user_error import UserError
from pipeline.settings import NessieSettings, S3Settings

logger = logging.getLogger("tillwatch.dremio")


# What a source has where its configuration names none: NessiePluginConfig.
_DEFAULTS = {"nessieAuthType": "BEARER", "credentialType": "ACCESS_KEY", "secure": True}


def source(nessie: NessieSettings, s3: S3Settings) -> dict[str, Any]:
    """The source as Dremio is told of it; it goes to these addresses itself."""
    scheme, _, host = s3.endpoint.partition("://")
    properties = {
        "fs.s3a.path.style.access": "true",
        "fs.s3a.endpoint": host,
        "dremio.s3.compat": "true",
        # Dremio's two clients of S3 read one each. Not compared later: most servers take any.
        "fs.s3a.endpoint.region": s3.region,
        "dremio.s3.region": s3.region,
    }
    return {
        "entityType": "source",
        "type": "NESSIE",
        "name": CATALOG,
        "config": {
            "nessieEndpoint": nessie.uri,
            "nessieAuthType": "NONE",
            "credentialType": "ACCESS_KEY",
            "awsAccessKey": s3.access_key,
            "awsAccessSecret": s3.secret_key.get_secret_value(),
            "awsRootPath": "/" + nessie.warehouse.removeprefix("s3://"),
            "secure": scheme == "https",
            "propertyList": [{"name": name, "value": value} for name, value in properties.items()],
        },
    }


def provide_source(rest: Rest, nessie: NessieSettings, s3: S3Settings) -> None:
    wanted = source(nessie, s3)
    for _ in range(2):
        found = rest.ask("GET", f"/api/v3/catalog/by-path/{quote(CATALOG, safe='')}")
        if found.status == 200:
            _refuse_other_settings(rest, found, wanted)
            logger.info("the source %s is there, with these settings", CATALOG)
            return
        if found.status != 404:
            raise rest.refusal(found, f"'{CATALOG}' can neither be seen nor made")
        made = rest.ask("POST", "/api/v3/catalog", wanted, secret=s3.secret_key.get_secret_value())
        if made.status < 300:
            if made.fields.get("name") != CATALOG:
                raise rest.no_dremio(made, "the source")
            logger.info("made the source %s: Nessie at %s, files at %s", CATALOG, nessie.uri, s3.endpoint)
            return
        if made.status != 409:
            break
        # Another run was quicker, or this one's call went through before the connection was cut.
        logger.info("the source %s was made meanwhile", CATALOG)
    raise rest.refusal(
        made,
        f"Dremio itself must reach Nessie at {nessie.uri} and S3 at {s3.endpoint} "
        "(TILLWATCH_NESSIE_URI, TILLWATCH_S3_ENDPOINT), and the user must be an administrator",
    )


def _refuse_other_settings(rest: Rest, found: RestAnswer, wanted: dict[str, Any]) -> None:
    """Raises UserError where the source that is there leads elsewhere. What else it has set is its owner's matter."""
    if not found.fields:
        raise rest.no_dremio(found, "what is called so")
    there, ours = _settings_of(found.fields), _settings_of(wanted)
    # People write a path with or without the slash at its ends; Dremio does not mind.
    others = [name for name in ours if there[name].strip("/") != ours[name].strip("/")]
    if others:
        # Of a space, or a source of another type, nothing further can be compared.
        told = [name for name in others if name in ("entityType", "type")] or others
        raise UserError(
            f"'{CATALOG}' in Dremio at {rest.address} has other settings than tillwatch: "
            + ", ".join(f"{name} is '{there[name]}', not '{ours[name]}'" for name in told)
            + "; nothing was changed: change it in Dremio, or remove it there and run this again."
        )


def _settings_of(entity: dict[str, Any]) -> dict[str, str]:
    """What a source is made of, as text by name. Without the secret: Dremio answers a placeholder for that."""
    config = entity.get("config")
    config = config if isinstance(config, dict) else {}
    listed = config.get("propertyList")
    properties = {
        str(item.get("name")): item.get("value")
        for item in (listed if isinstance(listed, list) else [])
        if isinstance(item, dict)
    }
    values = {name: entity.get(name) for name in ("entityType", "type")}
    for name in ("nessieEndpoint", "nessieAuthType", "credentialType", "awsAccessKey", "awsRootPath", "secure"):
        values[name] = config.get(name, _DEFAULTS.get(name))
    for name in ("fs.s3a.path.style.access", "fs.s3a.endpoint", "dremio.s3.compat"):
        values[name] = properties.get(name)
    return {name: _text(value) for name, value in values.items()}


def _text(value: object) -> str:
    if value is None:
        return "(not set)"
    return str(value).lower() if isinstance(value, bool) else str(value)
