"""An auditor of exported Assay ledgers, written from protocol/LEDGER.md."""
