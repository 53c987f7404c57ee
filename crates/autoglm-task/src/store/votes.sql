ALTER TABLE records ADD COLUMN vote TEXT; -- JSON: how samples of an open answer voted
ALTER TABLE records ADD COLUMN abstained TEXT; -- why the answer is withheld
