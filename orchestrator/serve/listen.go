package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"jird/orchestrator/guard"
)

// Limits of a connection: a caller that sends half a request, or none, is not
// waited for.
const (
	headerLimit = 5 * time.Second
	bodyLimit   = 30 * time.Second
	idleLimit   = 2 * time.Minute
	drainLimit  = 30 * time.Second
)

// Listen opens the socket at path, with mode 0600: who may call is who may open
// it. A socket that a dead guard left is replaced: the caller holds the lock that
// says so.
func Listen(path string) (net.Listener, error) {
	if info, err := os.Lstat(path); err == nil {
		if info.Mode()&os.ModeSocket == 0 {
			return nil, fmt.Errorf("%s is there and is not a socket; name another with --socket", path)
		}
		if err := os.Remove(path); err != nil {
			return nil, err
		}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("opening the socket %s: %w", path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// ListenLoopback opens a TCP port on loopback, and refuses any other address: the
// socket has no other access control.
func ListenLoopback(address string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("%s is not HOST:PORT: %w", address, err)
	}
	if !isLoopback(host) {
		return nil, fmt.Errorf("%s is not a loopback address: put a proxy that knows who may call in front of the socket", host)
	}
	return net.Listen("tcp", address)
}

// Serve answers on all listeners until ctx is done, then lets what has begun end,
// and closes the guard.
func Serve(ctx context.Context, g *guard.Guard, listeners ...net.Listener) error {
	server := &http.Server{Handler: Handler(g), ReadHeaderTimeout: headerLimit, ReadTimeout: bodyLimit, IdleTimeout: idleLimit}
	failed := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { failed <- server.Serve(l) }()
	}
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	drain, cancel := context.WithTimeout(context.Background(), drainLimit)
	defer cancel()
	err = errors.Join(err, server.Shutdown(drain))
	return errors.Join(err, g.Close())
}
