ALTER TABLE records ADD COLUMN route TEXT; -- JSON: the strategies that the record was routed to
