package remote

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
)

// trusted are the CAs in a file, or nil for the system's.
func trusted(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("CA: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("CA %s: there is no certificate in it", file)
	}
	return pool, nil
}

// certificate is what we show, if anything.
func certificate(cfg Config) ([]tls.Certificate, error) {
	if cfg.Cert == "" {
		return nil, nil
	}
	pair, err := tls.LoadX509KeyPair(cfg.Cert, cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", cfg.Cert, cfg.Key, err)
	}
	return []tls.Certificate{pair}, nil
}

// asking is how a client of cfg speaks TLS, or nil if it says nothing about that.
func asking(cfg Config) (c *tls.Config, err error) {
	if cfg.CA == "" && cfg.Cert == "" {
		return nil, nil
	}
	c = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.RootCAs, err = trusted(cfg.CA); err != nil {
		return nil, err
	}
	c.Certificates, err = certificate(cfg)
	return c, err
}

// showing is how a server of cfg speaks TLS.
func showing(cfg Config) (c *tls.Config, err error) {
	c = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.Certificates, err = certificate(cfg); err != nil {
		return nil, err
	}
	if c.ClientCAs, err = trusted(cfg.CA); err == nil && c.ClientCAs != nil {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return c, err
}
