package lbpro

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
)

// stickyKey makes what sticky cookies hold. The key is the configured secret, or a random
// one that is kept in Caddy's storage (in a file of mode 0600, with the default storage).
// That is read, or made, at first use: a configuration that is only validated must not
// write.
type stickyKey struct {
	storage certmagic.Storage
	logger  *zap.Logger

	once sync.Once
	key  []byte
}

const (
	stickyKeyName  = "lbpro/sticky.key"
	stickyKeyBytes = 32
	stickyKeyWait  = 5 * time.Second
	secretLeast    = 16
	// tokenBytes of the HMAC are used: 128 bits are beyond guessing.
	tokenBytes = 16
)

var tokenLength = base64.RawURLEncoding.EncodedLen(tokenBytes)

func (k *stickyKey) provision(ctx caddy.Context, secret string) error {
	k.logger = ctx.Logger()
	if secret == "" {
		k.storage = ctx.Storage()
		return nil
	}
	secret = caddy.NewReplacer().ReplaceAll(secret, "")
	if len(secret) < secretLeast {
		return fmt.Errorf("secret has %d bytes: give at least %d random ones, or leave it out to have one made", len(secret), secretLeast)
	}
	k.key = []byte(secret)
	return nil
}

// token returns the cookie of a backend: it says nothing of the address, and only who
// knows the key can make it.
func (k *stickyKey) token(id string) string {
	k.once.Do(k.load)
	h := hmac.New(sha256.New, k.key)
	h.Write([]byte("lbpro sticky 1\x00"))
	h.Write([]byte(id))
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:tokenBytes])
}

// load gets the key. Should the storage fail, clients still stick until the next reload.
func (k *stickyKey) load() {
	if k.key != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), stickyKeyWait)
	defer cancel()
	key, err := storedKey(ctx, k.storage)
	if err != nil {
		k.logger.Error("the key of sticky cookies cannot be kept: clients lose their backend at the next reload; "+
			"see to the storage, or set secret", zap.String("key", stickyKeyName), zap.Error(err))
		key = newKey()
	}
	k.key = key
}

// storedKey reads the key and makes it if there is none. Instances that share the storage
// agree on one by its lock.
func storedKey(ctx context.Context, s certmagic.Storage) ([]byte, error) {
	key, err := s.Load(ctx, stickyKeyName)
	if err == nil && len(key) >= stickyKeyBytes {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("reading: %w", err)
	}
	if err := s.Lock(ctx, stickyKeyName); err != nil {
		return nil, fmt.Errorf("locking: %w", err)
	}
	defer func() { _ = s.Unlock(context.WithoutCancel(ctx), stickyKeyName) }()
	if key, err := s.Load(ctx, stickyKeyName); err == nil && len(key) >= stickyKeyBytes {
		return key, nil // another instance was faster
	}
	key = newKey()
	if err := s.Store(ctx, stickyKeyName, key); err != nil {
		return nil, fmt.Errorf("writing: %w", err)
	}
	return key, nil
}

func newKey() []byte {
	key := make([]byte, stickyKeyBytes)
	_, _ = rand.Read(key) // never fails: it would rather end the process
	return key
}
