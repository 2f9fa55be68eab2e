"""The shop's database of `tillwatch stack --cdc`."""

from __future__ import annotations

from pydantic import Field, SecretStr

from lakehouse.settings.base import Section, Shared


class DatabaseSettings(Section, section="database"):
    """The PostgreSQL database that change data capture reads, and `producers database` writes into."""

    host: str = Field("127.0.0.1", description="where it is")
    port: int = Field(0, ge=0, le=65535, description="its port; 0: that of `stack --cdc`")
    name: str = Field("shop", description="of the database")
    user: str = Field("shop", description="who owns its tables, and writes")
    password: SecretStr = Field(
        SecretStr("shop123"), description="that user's, and of the role `tillwatch` that reads; better given as *_FILE"
    )

    @property
    def port_there(self) -> int:
        """The port that is meant."""
        return self.port or Shared.load().port("postgres")
