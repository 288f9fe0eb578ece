package remote

// Rights are the subjects that a key may publish to and subscribe to. The server in this
// process grants them; for another they belong into its configuration.
type Rights struct {
	Publish, Subscribe []string
	Respond            bool // once to each message received (allow_responses)
}

// inbox is where answers to a client come in. Each key has its own, since who may read
// another's inbox reads all that it is told.
func inbox(public string) string {
	if public == "" {
		return "_INBOX"
	}
	return "_INBOX_" + public
}

// WorkerRights are what the worker with a public key may do: take jobs and confirm them, beat,
// publish results, read objects. Not: submit, delete, or read results.
//
// NATS confirms a job by a subject that any worker may publish to, so a worker could
// confirm another's job, or publish another's result: who may work is trusted in that.
func WorkerRights(public string) Rights {
	return Rights{
		Publish: []string{
			"$JS.API.CONSUMER.INFO." + workStream + ".*",
			"$JS.API.CONSUMER.MSG.NEXT." + workStream + ".*",
			"$JS.ACK." + workStream + ".>",
			"jird.result.*", "jird.job.*.note", workerSubject, missingSubject,
			// to read objects
			"$JS.API.STREAM.INFO.OBJ_" + objectBucket,
			"$JS.API.DIRECT.GET.OBJ_" + objectBucket + ".>",
			"$JS.API.CONSUMER.CREATE.OBJ_" + objectBucket + ".>",
			"$JS.API.CONSUMER.DELETE.OBJ_" + objectBucket + ".*",
			"$JS.FC.OBJ_" + objectBucket + ".>",
			// to write large results: of those there are it sees hash and size
			"$JS.API.STREAM.INFO.OBJ_" + outputBucket,
			"$JS.API.DIRECT.GET.OBJ_" + outputBucket + ".$O." + outputBucket + ".M.>",
			"$O." + outputBucket + ".>",
		},
		Subscribe: []string{inbox(public) + ".>", wakeSubject},
	}
}

// SubmitterRights are what the submitter with a public key may do: make and remove streams, submit
// and withdraw jobs, put objects, read results. Not: take jobs, or publish results.
func SubmitterRights(public string) Rights {
	r := Rights{
		Publish: []string{
			"$JS.API.INFO", "jird.work.>", wakeSubject, "$O." + objectBucket + ".>",
			"$JS.API.CONSUMER.INFO." + workStream + ".*",
			"$JS.API.CONSUMER.CREATE." + workStream + ".>", "$JS.API.CONSUMER.DELETE." + workStream + ".*",
		},
		Subscribe: []string{inbox(public) + ".>", "jird.job.>", workerSubject, missingSubject, deadSubject},
		Respond:   true, // to a worker that misses an object
	}
	for _, s := range []string{workStream, resultStream, deadStream, "OBJ_" + objectBucket, "OBJ_" + outputBucket} {
		r.Publish = append(r.Publish,
			"$JS.API.STREAM.*."+s, // INFO, CREATE, PURGE, DELETE
			"$JS.API.STREAM.MSG.*."+s,
			"$JS.API.DIRECT.GET."+s, "$JS.API.DIRECT.GET."+s+".>")
	}
	for _, b := range []string{objectBucket, outputBucket} {
		r.Publish = append(r.Publish, "$JS.API.CONSUMER.*.OBJ_"+b+".>", "$JS.FC.OBJ_"+b+".>")
	}
	return r
}
