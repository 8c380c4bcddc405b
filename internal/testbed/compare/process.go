package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/caddy-lbpro/caddy-lbpro/internal/testbed"
)

const (
	startPatience = 20 * time.Second
	stopPatience  = 5 * time.Second
)

func privileged() bool { return os.Geteuid() == 0 }

// process is a proxy under way.
type process struct {
	cmd    *exec.Cmd
	dir    string
	url    string
	output tail
	exited chan struct{}
	err    error // of exited
}

// launch starts a proxy over backends on a free port and waits until it listens.
func launch(ctx context.Context, p proxy, binary string, backends []string) (*process, error) {
	listen, err := testbed.FreeAddr()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "compare-")
	if err != nil {
		return nil, err
	}
	text, file, args := p.config(site{dir: dir, listen: listen, backends: backends})
	run := &process{cmd: exec.Command(binary, args...), dir: dir, url: "http://" + listen, exited: make(chan struct{})}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	run.cmd.Dir = dir
	run.cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir)
	run.cmd.Stdout, run.cmd.Stderr = &run.output, &run.output
	if err := run.cmd.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go func() {
		run.err = run.cmd.Wait()
		close(run.exited)
	}()
	if err := run.ready(ctx, listen); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w: %s", p.name, err, run.output.String()), run.stop())
	}
	return run, nil
}

// ready waits until the process listens.
func (p *process) ready(ctx context.Context, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-p.exited:
			return fmt.Errorf("exited: %w", p.err)
		case <-ctx.Done():
			return fmt.Errorf("does not listen on %s: %w", addr, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// stop ends the process, kindly at first, and removes its files.
func (p *process) stop() error {
	// Signals fail only on a process that has exited, which is what is wanted.
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.exited:
	case <-time.After(stopPatience):
		for _, child := range children(p.cmd.Process.Pid) {
			if c, err := os.FindProcess(child); err == nil {
				_ = c.Kill()
			}
		}
		_ = p.cmd.Process.Kill()
		<-p.exited
	}
	return os.RemoveAll(p.dir)
}

// cpu returns the processor time that the process and its children have used; ok is
// false where /proc does not tell.
func (p *process) cpu() (total time.Duration, ok bool) {
	for _, pid := range append(children(p.cmd.Process.Pid), p.cmd.Process.Pid) {
		_, used, err := processStat(pid)
		if err != nil {
			return 0, false
		}
		total += used
	}
	return total, true
}

// children returns the ids of a process' children.
func children(pid int) []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var ids []int
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if parent, _, err := processStat(id); err == nil && parent == pid {
			ids = append(ids, id)
		}
	}
	return ids
}

// processStat reads parent and processor time from /proc/PID/stat, see proc(5): after
// the name in parentheses, the 2nd field is the parent, the 12th and 13th are user and
// system time in ticks of 10 ms.
func processStat(pid int) (parent int, used time.Duration, err error) {
	b, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, 0, err
	}
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(fields) < 13 {
		return 0, 0, fmt.Errorf("stat of process %d has %d fields", pid, len(fields))
	}
	parent, err = strconv.Atoi(fields[1])
	user, userErr := strconv.ParseInt(fields[11], 10, 64)
	system, systemErr := strconv.ParseInt(fields[12], 10, 64)
	return parent, time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err, userErr, systemErr)
}

// tail keeps the last few kilobytes that a process wrote.
type tail struct {
	mu sync.Mutex
	b  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b = append(t.b, p...)
	if extra := len(t.b) - 4096; extra > 0 {
		t.b = append(t.b[:0], t.b[extra:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.b))
}
