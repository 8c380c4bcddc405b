package main

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// machineTime returns the processor time that all processes of the machine have used,
// and what a hypervisor has taken away, from the first line of /proc/stat (proc(5));
// without interrupts, which belong to no process.
func machineTime() (time.Duration, error) {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	line, _, _ := strings.Cut(string(b), "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, fmt.Errorf("first line of /proc/stat is %q", line)
	}
	var sum int64
	for _, i := range []int{1, 2, 3, 8} { // user, nice, system, steal
		n, parse := strconv.ParseInt(f[i], 10, 64)
		err = errors.Join(err, parse)
		sum += n
	}
	return time.Duration(sum) * 10 * time.Millisecond, err
}

// foreign measures what others than this program and the proxies take of the machine.
type foreign struct {
	proxies  []*process
	began    time.Time
	all, own time.Duration
}

func watch(proxies ...*process) foreign {
	f := foreign{proxies: proxies, began: time.Now()}
	f.all, f.own, _ = f.used()
	return f
}

func (f foreign) used() (all, own time.Duration, ok bool) {
	all, err := machineTime()
	_, own, selfErr := processStat(os.Getpid())
	ok = err == nil && selfErr == nil
	for _, p := range f.proxies {
		cpu, told := p.cpu()
		own += cpu
		ok = ok && told
	}
	return all, own, ok
}

// share returns the part of all processors that others took since watch, 0 to 1; 0
// where the system does not tell.
func (f foreign) share() float64 {
	all, own, ok := f.used()
	if !ok {
		return 0
	}
	others := (all - f.all) - (own - f.own)
	return max(0, float64(others)/float64(time.Since(f.began))/float64(runtime.NumCPU()))
}
