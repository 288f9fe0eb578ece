package ledger

// Images are the identities of all images that the ledger names of a run, of a
// tournament or, for "", of anything: agents, and both sides of each decision.
func (l *Ledger) Images(run string) (all []string, err error) {
	if run != "" {
		if _, err := l.kind(run); err != nil {
			return nil, err
		}
	}
	rows, err := l.db.Query(`SELECT image FROM (
		SELECT agent AS image FROM run WHERE ?1 IN ('', id) UNION SELECT agent FROM tournament WHERE ?1 IN ('', id)
		UNION SELECT declared ->> 'incumbent_image' FROM decision WHERE ?1 IN ('', run)
		UNION SELECT declared ->> 'winner_image' FROM decision WHERE ?1 IN ('', run)
		UNION SELECT decided ->> 'snapshot' FROM decision WHERE ?1 IN ('', run)) WHERE image <> '' ORDER BY image`, run)
	if err != nil {
		return nil, l.fault(err)
	}
	defer rows.Close()
	for rows.Next() {
		var image string
		if err := rows.Scan(&image); err != nil {
			return nil, l.fault(err)
		}
		all = append(all, image)
	}
	return all, l.fault(rows.Err())
}
