"""Flight SQL on the port of legacy Flight: statements, prepared statements, metadata, sessions, cancelling.

messages (protobuf) -> service (which command is whose) -> prepared, metadata, sql_info, options. Statements go the
way of legacy Flight's: embedded.gateway.statements plans them, signs their tickets and runs them.
"""
