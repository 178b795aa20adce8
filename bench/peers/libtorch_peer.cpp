/* The mlp and LeNet in LibTorch, PyTorch's C++ interface, with its Adam. It speaks as the scripts beside it do: see
   harness.py. Threads are set by OMP_NUM_THREADS. */
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <vector>

namespace nn = torch::nn;

/* As in harness.py, with its reasons. */
constexpr int warm_up = 5, steps_per_start = 300, least_steps = 3;

struct Options {
    std::string workload, file;
    int64_t batch = 12;
    int steps = 5;
    bool infer = false, serve = false;
};

using Arrays = std::map<std::string, torch::Tensor>;
/* One whole training step or forward pass; its loss or its outputs. */
using Step = std::function<torch::Tensor()>;

/* The safetensors file: 8 bytes of header length, the header, the data. */
static Arrays read_sample(const std::string &path) {
    std::ifstream file(path, std::ios::binary);
    uint64_t length = 0;
    file.read(reinterpret_cast<char *>(&length), sizeof length);
    TORCH_CHECK(file, path, " cannot be read");
    std::string header(length, ' ');
    file.read(header.data(), static_cast<std::streamsize>(length));
    std::vector<char> data(std::istreambuf_iterator<char>(file), {});
    static const std::regex entry(R"re("([^"]+)":\{"dtype":"(F32|I64)","shape":\[([0-9,]*)\],)re"
                                  R"re("data_offsets":\[([0-9]+),([0-9]+)\]\})re");
    static const std::regex digits("[0-9]+");
    Arrays arrays;
    for (std::sregex_iterator at(header.begin(), header.end(), entry), end; at != end; ++at) {
        std::string sizes = (*at)[3];
        std::vector<int64_t> shape;
        for (std::sregex_iterator n(sizes.begin(), sizes.end(), digits); n != end; ++n) {
            shape.push_back(std::stoll(n->str()));
        }
        TORCH_CHECK(std::stoull((*at)[5]) <= data.size(), path, " is too short");
        char *begin = data.data() + std::stoull((*at)[4]);
        auto type = (*at)[2] == "F32" ? torch::kFloat32 : torch::kInt64;
        arrays[(*at)[1]] = torch::from_blob(begin, shape, type).clone();
    }
    return arrays;
}

static nn::Sequential network_of(const std::string &workload) {
    if (workload == "mlp") {
        return nn::Sequential(nn::Flatten(), nn::Linear(784, 128), nn::ReLU(), nn::Linear(128, 128),
                              nn::ReLU(), nn::Linear(128, 128), nn::ReLU(), nn::Linear(128, 10));
    }
    TORCH_CHECK(workload == "lenet", "libtorch: has mlp and lenet only");
    return nn::Sequential(nn::Conv2d(nn::Conv2dOptions(1, 6, 5).padding(2)), nn::ReLU(),
                          nn::MaxPool2d(2), nn::Conv2d(nn::Conv2dOptions(6, 16, 5)), nn::ReLU(),
                          nn::MaxPool2d(2), nn::Flatten(), nn::Linear(400, 120), nn::ReLU(),
                          nn::Linear(120, 84), nn::ReLU(), nn::Linear(84, 10));
}

static Step prepare(const Options &options, const Arrays &arrays, int64_t batch) {
    nn::Sequential network = network_of(options.workload);
    torch::NoGradGuard no_gradients;
    for (auto &parameter : network->named_parameters()) {
        parameter.value().copy_(arrays.at(parameter.key()));
    }
    torch::Tensor x = arrays.at("x").slice(0, 0, batch), y = arrays.at("y").slice(0, 0, batch);
    if (options.infer) {
        network->eval();
        return [=]() mutable {
            c10::InferenceMode inference;
            return network->forward(x);
        };
    }
    auto adam = std::make_shared<torch::optim::Adam>(network->parameters(),
                                                     torch::optim::AdamOptions(1e-3));
    return [=]() mutable {
        adam->zero_grad();
        torch::Tensor loss = nn::functional::cross_entropy(network->forward(x), y);
        loss.backward();
        adam->step();
        return loss.detach();
    };
}

static double now() {
    return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

/* Seconds of each step; the training starts anew from time to time. */
static std::vector<double> time_steps(const std::function<Step()> &start, double seconds) {
    std::vector<double> times;
    double end = now() + seconds;
    while (now() < end || times.size() < least_steps) {
        Step step = start();
        double before = now();
        for (int i = 0; i < warm_up; i++) step();
        end += now() - before;
        for (int i = 0; i < steps_per_start; i++) {
            before = now();
            step();
            double after = now();
            times.push_back(after - before);
            if (after > end && times.size() >= least_steps) break;
        }
    }
    std::sort(times.begin(), times.end());
    return times;
}

static void serve(const Options &options, const Arrays &arrays) {
    std::printf("{\"version\": \"%s\"}\n", TORCH_VERSION);
    std::fflush(stdout);
    for (std::string line; std::getline(std::cin, line);) {
        long batch = 0;
        double seconds = 0;
        TORCH_CHECK(
            std::sscanf(line.c_str(), "{\"batch\": %ld, \"seconds\": %lf}", &batch, &seconds) == 2,
            "what is asked for? ", line);
        auto times = time_steps([&] { return prepare(options, arrays, batch); }, seconds);
        std::printf("{\"us_min\": %.3f, \"us_median\": %.3f, \"steps\": %zu}\n",
                    times.front() * 1e6, times[times.size() / 2] * 1e6, times.size());
        std::fflush(stdout);
    }
}

static void print_numbers(const Options &options, const Arrays &arrays) {
    Step step = prepare(options, arrays, options.batch);
    for (int i = 0; i < (options.infer ? 1 : options.steps); i++) {
        torch::Tensor numbers = step().reshape(-1).contiguous();
        for (int64_t k = 0; k < numbers.numel(); k++) {
            std::printf("%.9g\n", static_cast<double>(numbers.const_data_ptr<float>()[k]));
        }
        std::fflush(stdout);
    }
}

static Options parse(int argc, char **argv) {
    TORCH_CHECK(argc >= 3, "usage: libtorch_peer WORKLOAD FILE [--batch-size N] [--steps N] "
                           "[--infer] [--serve]");
    Options options{argv[1], argv[2]};
    for (int i = 3; i < argc; i++) {
        std::string word = argv[i];
        bool more = i + 1 < argc;
        if (word == "--infer") {
            options.infer = true;
        } else if (word == "--serve") {
            options.serve = true;
        } else if (word == "--batch-size" && more) {
            options.batch = std::stoll(argv[++i]);
        } else if (word == "--steps" && more) {
            options.steps = std::stoi(argv[++i]);
        } else {
            TORCH_CHECK(false, "unknown: ", word);
        }
    }
    return options;
}

int main(int argc, char **argv) try {
    torch::manual_seed(0);
    Options options = parse(argc, argv);
    Arrays arrays = read_sample(options.file);
    options.serve ? serve(options, arrays) : print_numbers(options, arrays);
    return 0;
} catch (const std::exception &error) {
    std::string text = error.what();
    std::cerr << text.substr(0, text.find('\n')) << "\n";
    return 1;
}
